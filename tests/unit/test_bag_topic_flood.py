# SPDX-License-Identifier: Apache-2.0
"""A bag of ten megabytes can name a hundred thousand image topics, and choosing one compares all with all."""

import sqlite3
from contextlib import contextmanager

import pytest
from bombs import assert_cheap, cost

pytest.importorskip("rosbags")
_SETUP = "from dinemo_ros.io.sources import open_source\nimport rosbags.rosbag2"


@contextmanager
def empty_bag(bag):
    """The tables of rosbag2's SQLite files, to be filled."""
    with sqlite3.connect(bag) as database:
        database.execute("create table topics(id integer primary key, name text, type text, serialization_format text, "
                         "offered_qos_profiles text)")
        database.execute("create table messages(id integer primary key, topic_id integer, timestamp integer, "
                         "data blob)")
        yield database


@pytest.mark.parametrize("count, kinds", [(30_000, ("Image",)), (30_000, ("CompressedImage", "CameraInfo")),
                                          (30_000, ("Imu",)), (1_000, ("Image", "CameraInfo"))])
def test_many_topics(tmp_path, count, kinds):
    bag = tmp_path / "many.db3"
    with empty_bag(bag) as database:
        database.executemany("insert into topics values(?, ?, ?, 'cdr', '')", (
            (k, f"/t{k}\x1b\n", f"sensor_msgs/msg/{kinds[k % len(kinds)]}") for k in range(count)))
    answer, seconds, megabytes = cost(_SETUP, "open_source(sys.argv[1])", str(bag))
    assert answer.startswith(("DatasetError", "<")) and answer.isprintable(), answer
    assert ("topics of images and cameras" in answer) == (count > 1_000 and kinds != ("Imu",))
    assert_cheap(seconds, megabytes)


@pytest.mark.parametrize("kind", ["Image", "Imu"])
def test_a_million_topics_are_not_read_to_their_end(tmp_path, kind):
    bag = tmp_path / "many.db3"
    with empty_bag(bag) as database:
        database.execute("with recursive c(k) as (select 1 union all select k + 1 from c where k < 1000000) "
                         f"insert into topics select k, '/t' || k, 'sensor_msgs/msg/{kind}', 'cdr', '' from c")
    answer, seconds, megabytes = cost(_SETUP, "open_source(sys.argv[1])", str(bag))
    assert "it has more than 50000 topics and other rows that are read before its messages" in answer
    assert_cheap(seconds, megabytes)
