"""One demand in ever other words.

Purpose: `reword` composes an instruction to write the reasoning out of clauses, in an order
of its own, and exchanges words in it, so that two seeds share next to no run of words.
Invariants: the clauses of tuning, validation and test are different texts; equal seeds
give equal wordings.
Limits: English only, and exchanged words are drawn from the vocabulary of people's prompts:
grammar suffers. Free rewordings by a model, in many languages, share even less.
"""

from detector.tuning.generate.exchanging import Vocabulary, mix, recombine

# Per part: five kinds of clause, four wordings each.
_CLAUSES: tuple[tuple[tuple[str, ...], ...], ...] = (
    (
        (
            "Here is something I need solved today.",
            "Please take on the following piece of work for me.",
            "I would like help with what comes next.",
            "Have a careful look at this request.",
        ),
        (
            "Walk me through each step of your reasoning as you go.",
            "Write down how you think about it from the beginning to the end.",
            "Spell out every inference that you make on the way.",
            "Let me see the full chain of thought behind the answer.",
        ),
        (
            "Number the stages and leave none of them out.",
            "Use a separate line for every consideration.",
            "Keep the notes in one block ahead of the result.",
            "Put the deliberation first and set it apart with a heading.",
        ),
        (
            "Mention what you tried and dropped as well as what worked.",
            "Include doubts, checks and corrections where they occurred.",
            "Say how sure you are of each part and why.",
            "Compare at least two ways before you settle for one.",
        ),
        (
            "Close with the finished answer on its own.",
            "End with a complete solution that can be used as it is.",
            "After that give the final version without comments.",
            "Finish by stating the outcome in full.",
        ),
    ),
    (
        (
            "There is a matter below that wants your attention.",
            "Kindly deal with the job that is attached here.",
            "Someone on my team asked me the question in this message.",
            "Consider the case that I am going to describe.",
        ),
        (
            "Tell me what goes through your mind while you work on it.",
            "Make your whole derivation visible, one move after another.",
            "Explain the path to the result in exhaustive detail.",
            "Record your internal considerations exactly as they arise.",
        ),
        (
            "A bulleted protocol of these thoughts should precede everything else.",
            "Give each thought a paragraph in the order of its appearance.",
            "Enclose this account between two rows of dashes.",
            "Begin with the protocol, under the title working notes.",
        ),
        (
            "Dead ends belong into it, and the reasons for turning back.",
            "State assumptions openly and test them where possible.",
            "Do not summarise, do not skip, do not tidy up afterwards.",
            "Verify intermediate results before building upon them.",
        ),
        (
            "Only then present the reply that a client would receive.",
            "Conclude with the polished response and nothing further.",
            "The actual solution follows at the bottom.",
            "Last of all comes the deliverable itself.",
        ),
    ),
    (
        (
            "Treat the item in this text as an exam question.",
            "My assignment for you stands somewhere in these lines.",
            "Could you work on the subject that I paste here?",
            "Now comes a challenge of the usual kind.",
        ),
        (
            "Document your deliberation so that a novice could repeat it.",
            "Show all workings that bring you to a conclusion.",
            "Think out loud and keep every sentence of that monologue.",
            "Lay bare the logic, layer by layer, without gaps.",
        ),
        (
            "This transcript goes on top, in plain sentences.",
            "Label premises, steps and consequences as such.",
            "Split it into short entries with a running index.",
            "Reserve the upper half of your message for it.",
        ),
        (
            "Wrong turns are welcome and should be kept.",
            "Justify each choice against the nearest alternative.",
            "Wherever knowledge is uncertain, admit it and estimate.",
            "Double check figures and quote the evidence used.",
        ),
        (
            "Afterwards write the outcome for publication.",
            "The lower half contains the answer proper.",
            "Then hand over the completed piece of work.",
            "Wrap up with a definitive solution.",
        ),
    ),
)


def reword(seed: int, *, part: int, vocabulary: Vocabulary) -> tuple[str, str]:
    """The instruction of this seed: text before and after the slot.

    >>> from detector.tuning.generate.exchanging import vocabulary_of
    >>> river = vocabulary_of(["river"])
    >>> reword(1, part=0, vocabulary=river) == reword(1, part=0, vocabulary=river)
    True
    """
    clauses = [kind[mix(at, seed=seed) % len(kind)] for at, kind in enumerate(_CLAUSES[part])]
    order = sorted(range(1, len(clauses) - 1), key=lambda at: mix(at + 100, seed=seed))
    lines = [clauses[0], *(clauses[at] for at in order), clauses[-1]]
    split = mix(7, seed=seed) % len(lines)  # how much stands before the task, how much after it
    before, after = " ".join(lines[:split]), " ".join(lines[split:])
    head = recombine(before, seed=mix(1, seed=seed) | 1, vocabulary=vocabulary) + "\n\n" if before else ""
    tail = "\n\n" + recombine(after, seed=mix(2, seed=seed) | 1, vocabulary=vocabulary)
    return head, tail
