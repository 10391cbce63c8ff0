"""The small budget of the chaos suite: `make chaos` has the large one."""

from dataclasses import replace

import pytest

from tests.chaos.one_run import Plan, run

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(400)]


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_whatever_breaks_nothing_is_lost_doubled_or_made_up(tmp_path, record_property, seed):
    result = await run(Plan.of(seed, chaos_seconds=15), tmp_path)
    record_property("chaos", f"seed {seed}: {dict(result.injected)}, {result.images} images, {result.answers} answers")
    assert result.injected.total() > 10, "hardly anything was broken"
    assert not result.violations, "\n".join([f"make chaos SEED={seed}", *result.violations])


@pytest.mark.parametrize(
    ("rule", "strikes", "found"),
    [
        ("post_at_once_again", ["answer_lost"] * 8, "nothing_is_sent_twice_while_it_is_known"),
        ("another_seed_when_sent", [], "what_was_sent_is_what_the_row_says"),
        ("thrown_away", [], "every_done_image_is_the_stored_file"),
        ("unclear_is_failed", ["answer_lost"] * 8, "an_end_is_what_the_worker_says"),
        ("gives_up_early", ["errors_everywhere"], "a_prompt_fails_after_three_counted_retries"),
        ("one_too_many", [], "no_worker_is_sent_more_than_its_limit"),
        ("history_before_queue", [], "an_end_is_what_the_worker_says"),
    ],
)
async def test_a_rule_that_is_broken_on_purpose_is_found(tmp_path, rule, strikes, found):
    plan = replace(Plan.of(1, chaos_seconds=5), again=False)
    result = await run(plan, tmp_path, rule=rule, strikes=strikes)
    assert any(line.startswith(found) for line in result.violations), result.violations
