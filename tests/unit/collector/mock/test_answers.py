from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracequill_collector.mock.answers import answer
from tracequill_collector.mock.book import BOOK, WEAK_QUESTIONS
from tracequill_collector.mock.conversation import (
    Conversation,
    Message,
    count_tokens,
    cut,
    prompt_tokens,
    tokens,
)
from tracequill_collector.mock.vectors import unit_vector


def asked(*questions: str) -> Conversation:
    turns = [Message("user", question) for question in questions]
    return Conversation(tuple(turns))


@pytest.mark.parametrize(("question", "page"), BOOK)
def test_each_page_of_the_book_is_found_by_its_own_question(question: str, page: str) -> None:
    assert answer(asked(question)).text == page


@pytest.mark.parametrize(
    ("question", "beginning"),
    [
        ("Hi!", "Hello"),
        ("Where is my parcel?", "Open the tracking link"),
        ("My kettle has stains, how do I clean it?", "Rub the kettle"),
        ("Do you ship to Norway?", "Shipping costs"),
        ("Context: Refunds take five working days.\nQuestion: I want to cancel", "An order can"),
    ],
)
def test_other_words_for_the_same_question_find_the_page(question: str, beginning: str) -> None:
    assert answer(asked(question)).text.startswith(beginning)


def test_a_question_without_a_page_is_answered_with_a_sentence_that_repeats_it() -> None:
    text = answer(asked("Who won the cup in Tern Bay?")).text

    assert "Who won the cup in Tern Bay?" in text


def test_a_follow_up_is_read_together_with_the_question_before() -> None:
    alone = answer(asked("And abroad?")).text
    after = answer(asked("How long does standard delivery take?", "And abroad?")).text

    assert alone.startswith("Yes, we deliver to 27 countries")
    assert after == alone


def test_the_weak_questions_are_pages_of_the_book() -> None:
    assert set(WEAK_QUESTIONS) <= {question for question, _ in BOOK}


def test_a_text_is_repeated_to_the_letter_and_numbers_are_counted() -> None:
    assert answer(asked("Repeat after me: Grüße, 你好 😀")).text == "Grüße, 你好 😀"
    assert answer(asked("Count to 5")).text == "1 2 3 4 5"
    assert count_tokens(answer(asked("Count to 64")).text) == 64


def test_another_variation_is_another_text_and_the_same_one_the_same() -> None:
    question = asked("How do I cancel my order?")

    assert answer(question, 1) == answer(question, 1)
    assert answer(question, 1) != answer(question, 0)


@given(st.text())
def test_tokens_joined_are_the_text(text: str) -> None:
    assert "".join(tokens(text)) == text


def test_an_answer_ends_after_its_limit_and_before_a_stop_sequence() -> None:
    text = "One, two, three. Four."

    assert cut(text, 2).text == "One,"
    assert cut(text, 2).by == "limit"
    assert cut(text, 100).by == ""
    assert cut(text, None, [" three"]).text == "One, two,"
    assert cut(text, None, [" three"]).stop == " three"


def test_a_prompt_counts_its_text_four_tokens_a_message_and_three_for_the_answer() -> None:
    assert prompt_tokens(asked("Hello there.")) == 3 + 4 + 3
    assert prompt_tokens(asked("Hello there.", "Hello")) == 3 + 4 + 3 + 4 + 1


def test_texts_that_share_words_are_near_and_others_are_not() -> None:
    def near(first: str, second: str) -> float:
        pairs = zip(unit_vector(first, 256), unit_vector(second, 256), strict=True)
        return sum(a * b for a, b in pairs)

    assert near("return a parcel", "parcels returned") > 0.99
    assert near("return a parcel", "the parcel is late") > 0.3
    assert abs(near("return a parcel", "sharpen secateurs")) < 0.25
