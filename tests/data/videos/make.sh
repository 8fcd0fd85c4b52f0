#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Makes the videos of this folder anew; needs ffmpeg 6 or later with libx264, libx265, libvpx and libtheora.
# Six frames of one grey each, luma 40, 70, 100, 130, 160, 190. With stamps of 0, 33, 66, 1066, 1100 and 5000 ms where
# the container keeps stamps that differ, otherwise 25 frames per second.
# shellcheck disable=SC2086 # X264 is several words
set -euo pipefail
cd "$(dirname "$0")"
FFMPEG="${FFMPEG:-ffmpeg} -y -v error -fflags +bitexact -f lavfi"
GREY="color=c=black:s=64x48:r=25:d=0.24,geq=lum=40+30*N:cb=128:cr=128"
STAMPS="settb=1/1000,setpts='eq(N,1)*33+eq(N,2)*66+eq(N,3)*1066+eq(N,4)*1100+eq(N,5)*5000'"
vfr() { $FFMPEG -i "$GREY,$STAMPS" -fps_mode passthrough -enc_time_base 1:1000 -flags:v +bitexact "$@"; }
cfr() { $FFMPEG -i "$GREY" -flags:v +bitexact "$@"; }
X264="-c:v libx264 -pix_fmt yuv420p -bf 0"
for suffix in mp4 mkv mov 3gp 3g2 flv; do vfr $X264 grey.$suffix; done
vfr $X264 -movflags +faststart index_first.mp4
vfr -c:v libvpx -pix_fmt yuv420p grey.webm
vfr -c:v wmv2 -pix_fmt yuv420p grey.wmv
vfr -c:v wmv2 -pix_fmt yuv420p grey.asf
for suffix in ts m2ts mts; do vfr $X264 grey.$suffix; done
for suffix in avi h264; do cfr $X264 grey.$suffix; done
cfr -c:v mjpeg -pix_fmt yuvj420p motion_jpeg.avi
cfr -c:v libx265 -pix_fmt yuv420p -x265-params log-level=error:bframes=0 grey.hevc
for suffix in mjpg mjpeg; do cfr -c:v mjpeg -pix_fmt yuvj420p -f mjpeg grey.$suffix; done
cfr -c:v libtheora -pix_fmt yuv420p grey.ogv
cfr -c:v mpeg2video -pix_fmt yuv420p grey.vob
cfr -c:v mpeg1video -pix_fmt yuv420p grey.mpg
cfr grey.gif
# A telephone's: turned when shown, and trimmed without being encoded again (half of its frames are not to be seen).
HALVES="color=c=black:s=64x48:r=10:d=0.6,geq=lum='if(lt(X,32),60,if(lt(Y,24),120,200))':cb=128:cr=128"
$FFMPEG -i "$HALVES" $X264 upright.mp4
${FFMPEG% -f lavfi} -display_hflip -i upright.mp4 -c copy mirrored.mp4
${FFMPEG% -f lavfi} -display_rotation 90 -display_hflip -i upright.mp4 -c copy mirrored_90.mp4
for degrees in 90 180 270; do ${FFMPEG% -f lavfi} -display_rotation $degrees -i upright.mp4 -c copy turned_$degrees.mp4; done
${FFMPEG% -f lavfi} -ss 0.3 -i upright.mp4 -c copy trimmed.mp4
# Sound that goes on after the last frame: the container's duration is not the video's.
${FFMPEG% -f lavfi} -i grey.avi -f lavfi -i sine=duration=2 -c:v copy -c:a libvorbis -q:a 0 with_sound.mkv
