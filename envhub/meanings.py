"""What each code of a refusal means, and what to do about it."""

from typing import Final

from envhub.refusal import Code

MEANINGS: Final[dict[Code, str]] = {
    "bad_request": "The body, the query or the path is not what the endpoint takes; the message says where.",
    "unauthorized": "This hub wants a token: Authorization: Bearer TOKEN.",
    "foreign_origin": "A web page of another origin sent this, and the hub does not serve that origin.",
    "unknown_environment": "The hub serves no such environment; the message names the nearest.",
    "unknown_task": "The environment has no such task, index or action format; the message names some.",
    "unknown_session": "The session was closed, expired, belongs to someone else, or never was.",
    "unknown_path": "There is no such path.",
    "no_picture": "The environment draws no pictures.",
    "wrong_index": "Another turn is next, or this one was played with another action.",
    "episode_over": "The episode has ended; only its last turn is still answered from memory.",
    "environment_unavailable": "What backs it is missing here; the message has the command that helps.",
    "environment_fault": "The environment broke, no fault of the policy. What was begun or stepped is gone.",
    "worker_hung": "The session's worker did not answer in time and was replaced. The session is gone.",
    "worker_died": "The session's worker died and was replaced. The session is gone.",
    "worker_too_large": "The session's worker held too much: memory, disk or processes. The session is gone.",
    "too_large": "The body is larger than hub.max_body_bytes.",
    "too_slow": "The body did not come within hub.body_s.",
    "rate_limited": "Too many calls of this address or token. Come back after Retry-After seconds.",
    "too_many_connections": "Too many connections are open. Come back after Retry-After seconds.",
    "hub_full": "Every session, or every place in the queue, is taken. Come back after Retry-After seconds.",
    "hub_draining": "The hub is about to end and opens no sessions.",
    "no_worker": "No worker is up yet. Come back after Retry-After seconds.",
}
