"""Every number gwsync lives by, each with its reason. Seconds and bytes."""

from __future__ import annotations

# -- dialling -----------------------------------------------------------------
CONNECT_TIMEOUT_S = 30.0  # a wrong token on loopback is answered after up to 5 s
RESOLVE_TIMEOUT_S = 5.0  # libc's own resolver gives up at 5 s per server
RESOLUTION_DELAY_S = 0.05  # RFC 8305 section 3: for the second family, once the first is there
CONNECTION_ATTEMPT_DELAY_S = 0.25  # RFC 8305 section 5: between attempts of a race
TCP_TIMEOUT_S = 10.0  # per address; a dead IPv4 path must leave time for the next
PROXY_TIMEOUT_S = 10.0  # Tailscale's proxy tells of a dead target after 5 s
PROXY_HEAD_BYTES = 64 * 1024  # of an HTTP proxy's answer
SPLICE_STALL_S = 60.0  # for 16 KiB to get through a proxy behind TLS
PROXY_KEPT_BYTES = 4096  # of the dialogue, each way, for the error
TLS_TIMEOUT_S = 10.0
TLS_CONTEXTS = 8  # kept: building one takes 16-18 ms with the system's store
TLS_SESSIONS = 32  # kept to resume: a few kilobytes each
TLS_SESSION_S = 3600.0  # and until then: who resumes does not look at the certificate again
LOOK_TIMEOUT_S = 10.0  # to see a certificate, the way there included
TLS_PROBE_S = 0.7  # to find out whether a port that says nothing speaks TLS
TLS_PROBE_KEPT_S = 60.0  # before it is asked again
UPGRADE_TIMEOUT_S = 15.0  # what the official client allows
HANDSHAKE_TIMEOUT_S = 15.0  # the gateway itself closes after 15 s without `connect`
LOOKUP_THREADS = 8  # a cancelled lookup keeps its thread inside libc: bound them
UPGRADE_MAX_BYTES = 64 * 1024  # response head and error body together
ERROR_BODY_BYTES = 2048  # as much of an HTTP error body as is kept
ERROR_BODY_S = 1.0  # and waited for
HTTP_RETRY_MIN_S, HTTP_RETRY_MAX_S = 1.0, 60.0  # clamp for a Retry-After

# -- frames -------------------------------------------------------------------
MAX_MESSAGE_BYTES = 64 * 1024 * 1024  # what we accept in one WebSocket message
WHOLE_FRAME_BYTES = 4096  # decoded at once up to here; a longer one's payload when looked at
LARGE_FRAME_BYTES = 16 * 1024  # from here on nobody so much as steps over the payload
MAX_FRAGMENTS = 4096  # per message; tiny fragments are an attack, not a need
PREAUTH_MESSAGE_BYTES = 64 * 1024  # nothing before hello-ok is larger, both ways
DEFAULT_MAX_PAYLOAD_BYTES = 25 * 1024 * 1024  # hello policy.maxPayload of every release
MIN_MAX_PAYLOAD_BYTES = 1024  # clamp for a nonsensical policy
MAX_NONCE_CHARS = 1024  # a challenge is a UUID; longer ones are not signed
RECV_BUFFER_BYTES = 64 * 1024
RECV_MIN_BYTES = 8 * 1024  # of one recv; the more there is to read, the more at once
RECV_MAX_BYTES = 1024 * 1024  # the same, where a recv brings no more frames than these:
RECV_FEW = 128
RECV_FRAMES = 512  # more than these in one recv keep others waiting
KEPT_PIECE_BYTES = 16 * 1024  # of a message under way; smaller ones are put together
EMPTIED_BYTES = 4096  # a recv that got less has left nothing, most likely
YIELD_EVERY_S = 0.005  # a flooded reader must let the hub poll; 5 ms gives 15 ms gaps
YIELD_SLEEP_S = 1e-6  # gevent.sleep(0) is not a yield: 264 ms gaps were measured
CONTROL_FRAME_BYTES = 125  # RFC 6455 section 5.5
MAX_PONGS = 64  # that wait to be sent; beyond it only the latest pings are answered
CONTROL_FRAMES_PER_S = 1000  # over this, for as long as below, it is an attack
CONTROL_FLOOD_S = 5

# -- calls --------------------------------------------------------------------
REQUEST_TIMEOUT_S = 30.0
MAX_IN_FLIGHT = 200  # the gateway's start queue is 256 for all its clients
MAX_WAITING_CALLS = 10_000
MAX_TIMEOUT_S = 365 * 24 * 3600.0  # longer overflows the timers below us
INVALID_FRAMES_PER_MINUTE = 3  # dropped and counted; one more ends the link

MAX_REFUSED_DELAY_S = 5.0  # between tries of a call that the busy gateway did not take
FORGOTTEN_SLOT_S = 10.0  # a call given up still holds its place at the gateway that long
KEY_LIFETIME_S = 240.0  # the gateway remembers idempotency keys for 300 s
RESTORE_TIMEOUT_S = 5.0  # to make the server-side subscriptions of the last link again
LARGE_FRAME_BYTES = 4096  # from there on masking is worth an extension
MASK_IMPORT_BYTES = 256 * 1024  # masked without it in a millisecond; importing it takes ten
MASK_KEYS_BYTES = 1024  # of random keys taken at once
DIRECT_FRAME_BYTES = 16 * 1024  # a caller's thread writes its own request up to there
WRITE_CHUNK_BYTES = 64 * 1024  # written at once; a caller can take back what has its end behind it

# -- runs of the agent ----------------------------------------------------------
ABORT_TIMEOUT_S = 5.0  # for leaving a run's block early; the gateway answers in 20 ms
RUN_SILENCE_S = 30.0  # of a run, before it is asked about: a tool may take longer than that
RUN_CLOSING_S = 3.0  # from its last event but one to the last, which comes in milliseconds
RUN_ASK_S = 0.25  # between questions about a run that is not known yet, doubling
RUN_TEXT_TRIES = 6  # for the text of a run that has just ended to be in its history
RUN_RESEND_S = 1.0  # before a message that a restarting gateway refused is sent again
RUN_RESENDS = 60  # of those; a restart waits for runs that are under way
FOLLOW_S = 10.0  # a run that is to be followed is looked for; it may be silent until it begins
FOLLOW_SESSIONS = 30  # in so many of the gateway's sessions, the most recent ones
RUN_SHARED_S = 0.02  # how often a second thread looks at a run that the first one drives
SHOW_EVERY_S = 0.1  # how often a notebook is shown the words of a run
SHOW_CHARS_S = 1_000_000  # of them, at most so many a second: all are sent each time
PROGRESS_EVERY_S = 0.05  # how often the progress of a large message is told

# -- plain HTTP -----------------------------------------------------------------
HTTP_BODY_BYTES = 16 * 1024 * 1024  # the largest answer that is read whole
EVENT_BYTES = 1024 * 1024  # one event of a stream
COMPLETION_TIMEOUT_S = 120.0  # an agent calls tools before it says a word
READY_EVERY_S = 0.25  # how often a gateway is asked whether it is ready

# -- life ---------------------------------------------------------------------
TICK_INTERVAL_S = 30.0  # policy.tickIntervalMs of every release
MIN_TICK_S, MAX_TICK_S = 1.0, 300.0  # clamp for a nonsensical policy
SILENT_TICKS = 2  # the official client's rule
PING_TIMEOUT_S = 10.0  # for the answer to our own ping; ours goes out after one idle tick
READER_TURN_S = 0.002  # for the reader, before a link is condemned
READER_LATE_S, READER_TURNS = 0.1, 4  # a turn that took longer gave it none: so many in all
WATCH_EVERY_S = 1.0  # how often a link is looked at, and a sleep of the machine noticed
JUMP_S = 2.0  # clocks that differ by more: the machine slept, or the process was stopped
WAKE_TIMEOUT_S = 1.0  # for an answer after a sleep longer than any silence allowed
PROGRESS_BYTES = 16 * 1024  # of a frame under way count as hearing; a drip does not
SLOW_CALLBACK_S = 5.0  # a callback that takes longer is named in a warning
REPEAT_LOG_S = 10.0  # within it, identical log lines beyond the first few are counted only
REPEAT_LOG_LINES = 5
PROTOCOL_TRIES = 3  # attempts in a row that break the protocol; then it is not a gateway
RATE_LIMIT_MAX_S = 900.0  # the gateway locks a client out for 300 s
STABLE_AFTER_S = 10.0  # a link that lived this long resets the backoff
CLOSE_TIMEOUT_S = 1.0  # the socket is gone within this
DRAIN_TIMEOUT_S = 5.0  # close() waits this long for callbacks
SIGNAL_CHECK_S = 0.15  # how long a main thread that waits may overlook a Ctrl-C
EXIT_LEAVE_S = 0.5  # for close frames and greenlets at interpreter exit
EXIT_TIMEOUT_S = 5.0  # to join the hub thread: milliseconds, but one left alive crashes the exit
EXIT_STAY_S = 5.0  # a daemon thread woken by the exit; the interpreter is gone long before
RETRY_AFTER_MIN_S, RETRY_AFTER_MAX_S = 0.1, 60.0

# -- pushes -------------------------------------------------------------------
MAX_QUEUE = 1000  # pushes held per subscription
BACKLOG_PUSHES = 100_000  # held for a subscription that must lose nothing (on_full="block")
QUEUE_BYTES = 64 * 1024 * 1024  # of payloads, in any queue: 1,000 pushes may be large ones
DISPATCH_BATCH = 256  # or more are taken from a queue at once; keeps the lock rare
DELIVER_AT_ONCE = 512  # of a flood's batch; then its consumers may take them
GIVE_WAY_S = 0.001  # the hub waits at most, for a consumer to take what there is
GIVE_WAY_TIMES = 10  # in a row for one that takes nothing: it is held up elsewhere
WORKER_IDLE_S = 10.0  # an idle callback thread leaves after this

# -- the state directory --------------------------------------------------------
STATE_FILES = 64  # of which what they hold is kept
STATE_FILE_SETTLED_NS = 100_000_000  # not before: some file systems count in hundredths

# -- the relay ------------------------------------------------------------------
RELAY_HEAD_BYTES = 64 * 1024  # of a request, and of an answer
RELAY_LAST_BYTES_S = 0.01  # an early answer waits so long for the end of its request
RELAY_INTERIM = 20  # answers of 1xx before the one that counts
RELAY_HEADERS = 100  # what Apache allows
RELAY_TARGET_BYTES = 32 * 1024  # of path and query
RELAY_CHUNK_LINE_BYTES = 8 * 1024  # a chunk's size and extensions, or one trailer
RELAY_HEAD_S = 10.0  # from a request's first byte to the end of its head
RELAY_KEPT_S = 75.0  # of a connection between two requests, as nginx has it
RELAY_STALL_S = 60.0  # of a request's body
RELAY_ANSWER_S = 300.0  # for the upstream's head: long-polls take their time
RELAY_IDLE_S = 3600.0  # of a stream or a WebSocket with no byte either way
RELAY_SWEEP_S = 5.0  # how often idle ones are looked for
RELAY_CONNECTIONS = 2000  # at a time; one more is told 503
RELAY_CLOSE_S = 2.0  # for the other side to see the end before its socket is closed
RELAY_STOP_S = 5.0  # for what is under way when the relay stops
RELAY_COPY_BYTES = 64 * 1024  # read at once, and not more before it was written
RELAY_KEEPALIVE_S = 30.0  # of silence before TCP asks whether the peer is still there
RELAY_GONE_S = 60.0  # for a peer to acknowledge what it was sent
RELAY_HEALTH_KEPT_S = 2.0  # an answer of /healthz, so that asking costs the proxy little
RELAY_LOGIN_BYTES = 4096  # of the form with the token
RELAY_IDLE_LEGS = 16  # to one upstream, kept for the next request
RELAY_HELLO_BYTES = 4 * 1024 * 1024  # a gateway's answer to `connect`
RELAY_LEG_KEPT_S = 4.0  # shorter than the 5 s after which node closes them
