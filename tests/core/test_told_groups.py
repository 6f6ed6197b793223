from connector.core.told_groups import MOST_NAMES, PAUSE_S, Groups


def test_the_onset_stays_however_often_it_is_told() -> None:
    groups: Groups[str] = Groups()
    for second in range(100):
        groups.add("scale", f"the {second}th", 1000.0 + second, name="ADAUSD")
    (group,) = groups.newest_first()
    assert (group.first_at_s, group.since_s, group.last_at_s, group.times) == (1000.0, 1000.0, 1099.0, 100)
    assert (group.last, group.names) == ("the 99th", ("ADAUSD",))


def test_what_comes_back_after_a_pause_has_begun_anew() -> None:
    groups: Groups[str] = Groups()
    groups.add("lost", "a", 1000.0)
    groups.add("lost", "b", 1000.0 + PAUSE_S)
    groups.add("lost", "c", 1001.0 + 2 * PAUSE_S)
    (group,) = groups.newest_first()
    assert (group.first_at_s, group.since_s, group.times) == (1000.0, 1001.0 + 2 * PAUSE_S, 3)


def test_kinds_stand_newest_first_and_are_bounded() -> None:
    groups: Groups[str] = Groups(most=3)
    for at_s, kind in enumerate("abcab"):
        groups.add(kind, kind, float(at_s))
    assert [group.last for group in groups.newest_first()] == ["b", "a", "c"]
    groups.add("d", "d", 9.0)
    assert [group.last for group in groups.newest_first()] == ["d", "b", "a"]


def test_names_are_bounded_and_none_is_empty() -> None:
    groups: Groups[str] = Groups()
    groups.add("scale", "", 1.0)
    for number in range(2 * MOST_NAMES):
        groups.add("scale", "", 1.0, name=f"S{number}")
    (group,) = groups.newest_first()
    assert group.names == tuple(f"S{number}" for number in range(MOST_NAMES))
