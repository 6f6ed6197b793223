from connector.core.log_repeats import Repeats, Summary


def test_the_first_is_told_and_the_others_are_summed_up() -> None:
    repeats: Repeats[str] = Repeats(every_s=60)
    assert repeats.is_first("key", "one", 0)
    assert not repeats.is_first("key", "two", 1)
    assert not repeats.is_first("key", "three", 2)
    assert repeats.is_first("another", "x", 3)
    assert repeats.due(59) == []
    assert repeats.due(60) == [Summary("three", 2)]
    assert repeats.due(61) == []
    assert not repeats.is_first("key", "four", 62)
    assert repeats.due(120) == [Summary("four", 1)]


def test_what_stayed_away_is_new_again() -> None:
    repeats: Repeats[str] = Repeats(every_s=60)
    assert repeats.is_first("key", "one", 0)
    assert repeats.due(60) == []
    assert repeats.is_first("key", "two", 61)


def test_everything_held_back_can_be_had_before_the_end() -> None:
    repeats: Repeats[str] = Repeats(every_s=60)
    repeats.is_first("key", "one", 0)
    repeats.is_first("key", "two", 1)
    assert repeats.due(2, all_of_them=True) == [Summary("two", 1)]


def test_memory_is_bounded_whatever_the_keys() -> None:
    repeats: Repeats[int] = Repeats(every_s=60, max_keys=3)
    told = [number for number in range(100) if repeats.is_first(number, number, 0)]
    assert told == [0, 1, 2, 3]
    assert repeats.due(60) == [Summary(99, 96)]
