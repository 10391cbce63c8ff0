"""At most three retries a prompt; what a worker loses is not the prompt's fault, until it happened three times."""

from hypothesis import given
from hypothesis import strategies as st

from comfylabel.orchestrator.retry_policy import MAX_LOSSES, MAX_RETRIES, Failure, FailureKind, decide

failures = st.builds(Failure, st.sampled_from(FailureKind), st.just("words"), st.booleans())


@given(st.lists(failures, max_size=40))
def test_however_it_fails_retries_and_losses_stay_within_their_budget(story):
    retries = losses = 0
    for failure in story:
        decision = decide(failure, retries_used=retries, losses=losses)
        retries += decision.retry
        losses += decision.loss
        assert retries <= MAX_RETRIES
        assert losses <= MAX_LOSSES
        if decision.give_up:
            break


@given(failures, st.integers(0, MAX_RETRIES), st.integers(0, MAX_LOSSES - 1))
def test_a_retry_and_a_loss_are_never_counted_for_the_same_failure(failure, retries, losses):
    decision = decide(failure, retries_used=retries, losses=losses)
    assert not (decision.retry and decision.loss)
    assert not (decision.retry and decision.give_up)


@given(
    st.sampled_from(
        [FailureKind.EXECUTION_ERROR, FailureKind.OUT_OF_MEMORY, FailureKind.BROKEN_IMAGE, FailureKind.DEADLINE]
    )
)
def test_the_fourth_failure_gives_up(kind):
    failure = Failure(kind, "", was_running=True)
    outcomes = [decide(failure, retries_used=used, losses=0).give_up for used in range(MAX_RETRIES + 1)]
    assert outcomes == [False, False, False, True]


def test_a_prompt_that_was_running_in_three_losses_is_the_cause():
    lost = Failure(FailureKind.WORKER_LOST, "", was_running=True)
    assert [decide(lost, retries_used=0, losses=seen).give_up for seen in range(3)] == [False, False, True]


@given(st.integers(0, 100))
def test_what_was_never_running_may_be_lost_for_ever(losses):
    waiting = Failure(FailureKind.WORKER_LOST, "", was_running=False)
    assert not decide(waiting, retries_used=MAX_RETRIES, losses=losses).give_up


def test_a_graph_that_the_server_refuses_is_not_tried_again():
    assert decide(Failure(FailureKind.VALIDATION, ""), retries_used=0, losses=0).give_up


@given(
    st.sampled_from(
        [
            FailureKind.MISSING_MODEL,
            FailureKind.MISSING_NODE,
            FailureKind.NETWORK,
            FailureKind.PROXY_AUTH,
            FailureKind.CANCELLED,
            FailureKind.DEADLINE,
        ]
    )
)
def test_a_fault_of_the_worker_before_it_began_costs_the_prompt_nothing(kind):
    decision = decide(Failure(kind, ""), retries_used=MAX_RETRIES, losses=MAX_LOSSES - 1)
    assert (decision.give_up, decision.retry, decision.loss) == (False, False, False)
