"""The bench's own check that no batch is in two people's hands."""

from bench.served import Ledger, double_served


def test_each_batch_with_one_person_is_fine():
    ann, bob = Ledger("ann"), Ledger("bob")
    ann.served(0, 1, ["a", "b"])
    bob.served(0, 1, ["c"])
    ann.answer("a")
    ann.served(2, 3, ["b", "d"])

    assert double_served([ann, bob]) == 0


def test_a_batch_that_two_people_hold_is_found():
    ann, bob = Ledger("ann"), Ledger("bob")
    ann.served(0, 1, ["a", "b"])
    bob.served(2, 3, ["b"])

    assert double_served([ann, bob]) == 1


def test_a_batch_that_was_given_back_may_go_to_somebody_else():
    ann, bob = Ledger("ann"), Ledger("bob")
    ann.served(0, 1, ["a", "b"])
    ann.served(5, 9, ["a"])
    bob.served(6, 7, ["b"])

    assert double_served([ann, bob]) == 0


def test_a_batch_that_was_answered_may_go_to_nobody():
    ann, bob = Ledger("ann"), Ledger("bob")
    ann.served(0, 1, ["a"])
    ann.answer("a")
    bob.served(100, 101, ["a"])

    assert double_served([ann, bob]) == 1
    ann.served(200, 201, ["a"])
    assert ann.again == 1
