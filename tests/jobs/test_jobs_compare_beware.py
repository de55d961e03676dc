"""What both networks were made with is said once; what only one was, of that one."""

from excite.jobs.compare.beware import beware, merged

TRAINED = ("LEAK: the network was trained on {} of these 309 images (/data/a.png, /data/b.png and 195 more): the "
           "numbers are too good; leave them out")
TUNED = ("LEAK: {} of these 309 images (/data/c.png, /data/d.png and 49 more) were in the validation part, which chose "
         "the best epoch: the numbers are too good")


def test_equal_leaks_are_one_sentence_with_one_path() -> None:
    notes = (TRAINED.format(197), TUNED.format(51), "something else")
    assert beware(notes, notes) == (
        "BEWARE: A and B were trained on 197 and tuned on 51 of these 309 images (first of them: /data/a.png): leave "
        "them out, the numbers are too good",)


def test_leaks_of_one_and_other_leaks_are_kept_apart() -> None:
    assert beware((TRAINED.format(197),), (TUNED.format(51),))[0] == (
        "BEWARE: A was trained on 197 of these 309 images (first of them: /data/a.png); B was tuned on 51 of these 309 "
        "images (first of them: /data/c.png): leave them out, the numbers are too good")
    assert beware(("LEAK: the network was trained on 20 of these 20 scans",), ()) == (
        "BEWARE: A was trained on 20 of these 20 scans: leave them out, the numbers are too good",)
    assert beware((), ("LEAK: the network was trained on maps of 3 of these 24 rows (lines 2, 3, 4): x",)) == (
        "BEWARE: B was trained on 3 of these 24 rows (first of them: line 2): leave them out, the numbers are too "
        "good",)


def test_what_has_no_count_is_told_word_for_word_and_once() -> None:
    warned = "WARNING: another sensor?"
    assert beware((warned, "LEAK: a patient is in two parts"), (warned,)) == (
        "BEWARE: A and B: another sensor?", "BEWARE: A: a patient is in two parts")
    assert beware(("fine",), ()) == ()
    assert merged(["x", "y"], ["y"]) == ["A: x", "A and B: y"]
