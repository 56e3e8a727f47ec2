"""Bodies of requests and replies: what was asked, what was said, which settings were chosen.

Purpose: several logs keep the provider's own JSON; its text goes into access.v1's `content`
(to be fingerprinted and dropped), its settings into fields.
Invariants: any JSON value is taken; a shape that is not known gives nothing. What the client
wrote is never a reason to refuse its record. Text leaves as three strings, so nothing
nested goes on.
Limits: text parts only; of several choices the first; of a conversation the last question
of the user is the prompt, as everywhere.
Source: the APIs of OpenAI (chat, completions, responses), Anthropic (messages), Google
(generateContent) and Amazon (Converse, InvokeModel), whole or as streamed deltas; messages
of OpenTelemetry's generative AI conventions.
"""

from collections.abc import Iterator
from typing import Any

from detector.formats.layout import At, Reads, at, find, keys_of
from detector.formats.values import flag, lenient, number, short, unpacked, whole
from detector.shim import messages_to_content

_ROLES = {"model": "assistant", "human": "user"}
_REDACTED = frozenset({"redacted-by-litellm", "[REDACTED]"})


def _is_list(value: Any) -> list[Any]:
    return value if type(value) is list else []


def texts(value: Any) -> Iterator[str]:
    """The pieces of text in a message's content: a string, parts with `text` or (OpenTelemetry) `content`, lists."""
    if type(value) is str:
        yield value
    elif type(value) is list:
        for part in value:
            if type(part) is str:
                yield part
            elif type(part) is dict:
                found = part.get("text", part.get("content") if part.get("type") == "text" else None)
                if type(found) is str:
                    yield found


def joined(value: Any) -> str | None:
    """The text of a content as paragraphs; None where it has none.

    >>> joined([{"type": "text", "text": "a"}, {"type": "image_url"}, {"type": "text", "content": "b"}]).split()
    ['a', 'b']
    """
    return "\n\n".join(texts(value)) or None


def messages(value: Any) -> list[dict[str, Any]]:
    """A conversation as messages of one shape, whichever API wrote it."""
    found = []
    for message in _is_list(value):
        if type(message) is dict:
            role = message.get("role")
            content = joined(message.get("content")) or joined(message.get("parts"))
            found.append({"role": _ROLES.get(role, role) if type(role) is str else None, "content": content})
    return found


def asked(body: Any) -> tuple[str | None, str | None, int | None]:
    """The system prompt, the prompt and the turn's number in a request's body.

    >>> asked({"system": "Be brief.", "messages": [{"role": "user", "content": [{"type": "text", "text": "Why?"}]}]})
    ('Be brief.', 'Why?', 0)
    >>> asked({"contents": [{"role": "user", "parts": [{"text": "Why?"}]}]})
    (None, 'Why?', 0)
    """
    if type(body) is list:
        body = {"messages": body}
    if type(body) is not dict:
        return None, body if type(body) is str and body else None, None
    spoken = messages(body.get("messages")) or messages(body.get("contents")) or messages(body.get("input"))
    system, prompt, turn = messages_to_content(spoken)
    for name in ("system", "instructions", "system_instruction", "systemInstruction"):
        value = body.get(name)
        system = system or joined(find(value, keys=("parts",)) if type(value) is dict else value)
    for name in ("prompt", "inputText", "inputs", "input"):
        prompt = prompt or joined(body.get(name))
    return system, prompt, turn


def _delta(event: dict[str, Any]) -> str:
    """The text of one event of a stream."""
    for keys in _DELTAS:
        found = find(event, keys=keys)
        if type(found) is str:
            return found
    return ""


_REPLIES = tuple(
    keys_of(path)
    for path in (
        *("choices/0/message/content", "choices/0/text", "output/message/content", "candidates/0/content/parts"),
        *("content", "completion", "generation", "outputText", "results/0/outputText", "outputs/0/text", "text"),
    )
)
_DELTAS = tuple(
    keys_of(path)
    for path in (
        *("choices/0/delta/content", "delta/text", "contentBlockDelta/delta/text", "candidates/0/content/parts/0/text"),
        *("completion", "generation", "outputText"),
    )
)


def said(reply: Any) -> str | None:
    """What the model answered, in a reply's body; streamed deltas are put together.

    >>> said({"choices": [{"message": {"role": "assistant", "content": "Because."}}]})
    'Because.'
    >>> said([{"delta": {"type": "text_delta", "text": "Be"}}, {"delta": {"text": "cause."}}, {"type": "message_stop"}])
    'Because.'
    """
    if type(reply) is str:
        return reply or None
    if type(reply) is list:
        spoken = messages(reply)
        if any(m["content"] for m in spoken):
            return "\n\n".join(m["content"] for m in spoken if m["content"])
        return "".join(_delta(event) for event in reply if type(event) is dict) or None
    for keys in _REPLIES:
        found = joined(find(reply, keys=keys))
        if found is not None:
            return found
    items = find(reply, keys=("output",))
    return said(items) if type(items) is list else None


def finish(reply: Any) -> str | None:
    """Why the model stopped, in a reply's body or in the last event of a stream that says so."""
    for part in reversed(reply) if type(reply) is list else (reply,):
        for keys in _FINISHES:
            found = lenient(short)(find(part, keys=keys))
            if found is not None:
                return str(found)
    return None


_FINISHES = tuple(
    keys_of(path)
    for path in (
        *("choices/0/finish_reason", "stop_reason", "stopReason", "candidates/0/finish_reason"),
        *("candidates/0/finishReason", "delta/stop_reason", "messageStop/stopReason", "completionReason"),
    )
)


def _asks_for_logprobs(value: Any) -> bool | None:
    """Chat takes a boolean, completions a number of which 0 still asks for the chosen token's own."""
    return True if type(value) is int else lenient(flag)(value)


def _structured(value: Any) -> bool | None:
    return find(value, keys=("type",)) in ("json_object", "json_schema") if type(value) is dict else None


def _count(value: Any) -> int | None:
    return len(value) if type(value) is list else None


def settings(*bodies: str) -> dict[str, At]:
    """The settings that a client chose, in any of `bodies` (paths to a request's body or to its parameters)."""

    def places(*names: str) -> tuple[str, ...]:
        return tuple(f"{body}/{name}" for body in bodies for name in names)

    wholes, reals, words = lenient(whole), lenient(number), lenient(short)
    output_max = ("max_tokens", "max_completion_tokens", "max_output_tokens", "max_new_tokens", "maxTokens")
    return {
        "max_tokens": at(*places(*output_max, "maxOutputTokens", "max_tokens_to_sample", "maxTokenCount"), to=wholes),
        "temperature": at(*places("temperature"), to=reals),
        "top_p": at(*places("top_p", "topP"), to=reals),
        "top_k": at(*places("top_k", "topK"), to=wholes),
        "n": at(*places("n", "candidate_count", "candidateCount"), to=wholes),
        "seed": at(*places("seed", "sampling_seed"), to=wholes),
        "reasoning_effort": at(*places("reasoning_effort", "reasoning/effort"), to=words),
        "logprobs_requested": at(*places("logprobs", "response_logprobs", "responseLogprobs"), to=_asks_for_logprobs),
        "top_logprobs": at(*places("top_logprobs"), to=wholes),
        "structured_output": at(*places("response_format", "text/format"), to=_structured),
        "tool_count": at(*places("tools"), to=_count),
        "stream": at(*places("stream"), to=lenient(flag)),
    }


def talk(*, request: str, reply: str) -> dict[str, Reads]:
    """`content`, `turn_index` and `finish_reason` out of the bodies at two paths, JSON text or not."""
    request_keys, reply_keys = keys_of(request), keys_of(reply)

    def content(record: Any) -> dict[str, str] | None:
        system, prompt, _ = asked(find(record, keys=request_keys))
        return content_of(system=system, prompt=prompt, output=said(find(record, keys=reply_keys)))

    def turn(record: Any) -> int | None:
        return asked(find(record, keys=request_keys))[2]

    def stopped(record: Any) -> str | None:
        return finish(find(record, keys=reply_keys))

    return {"content": Reads(content), "turn_index": Reads(turn), "finish_reason": Reads(stopped)}


def content_of(*, system: str | None, prompt: str | None, output: str | None) -> dict[str, str] | None:
    """Text as access.v1's `content`; None where there is none, or only what a gateway put in its place."""
    parts = {"system": system, "prompt": prompt, "output": output}
    return {name: value for name, value in parts.items() if value and value not in _REDACTED} or None


def opened(record: dict[str, Any], *, parts: dict[str, str]) -> dict[str, Any]:
    """Add bodies that stand as JSON text somewhere in a record, under names of their own."""
    return record | {name: unpacked(find(record, keys=keys_of(path))) for name, path in parts.items()}
