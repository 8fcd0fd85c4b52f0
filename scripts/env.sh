# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The run environment after setup.sh; source it: the venv, the colcon installation, settings of this machine only.
# Variables that are set already are kept.
_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [[ -n ${_ROS_WHEELS_BOOTSTRAP_COMPLETE:-} ]]; then unset LD_LIBRARY_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE; fi
# shellcheck disable=SC1091
source "$_root/.venv/bin/activate"
# Built without a distribution, the prefix of the wheels is the venv itself.
export AMENT_PREFIX_PATH=${AMENT_PREFIX_PATH:-$VIRTUAL_ENV}
# shellcheck disable=SC1091
source "$_root/install/local_setup.bash"
# Images need more shared memory than Fast DDS gives by default. Humble and Jazzy read another variable, and later ones
# complain about it.
_profile=$_root/install/dinemo_ros/share/dinemo_ros/config/fastdds.xml
case ${ROS_DISTRO:-} in
  humble | jazzy) export FASTRTPS_DEFAULT_PROFILES_FILE=${FASTRTPS_DEFAULT_PROFILES_FILE:-$_profile} ;;
  *) export FASTDDS_DEFAULT_PROFILES_FILE=${FASTDDS_DEFAULT_PROFILES_FILE:-$_profile} ;;
esac
unset _root _profile
