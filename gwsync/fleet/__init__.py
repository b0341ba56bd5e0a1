"""A fleet: many processes share one gateway connection over Redis.

::

    worker ─┐  calls (stream, one consumer group)           ┌──────────┐
    worker ─┼─────────────────────────────────▶  owner ─────│ gateway  │
    worker ─┘  ◀── replies:W (a stream each), pushes (one) ─└──────────┘

Keys, all in one slot of a cluster (``{F}`` is the fleet's name in braces):

=======================  ========================================================
``gwsync:{F}:lease``     ``owner|fence``, expires: who may send to the gateway
``gwsync:{F}:fence``     hash: the newest fencing number, renewals, what was released
``gwsync:{F}:calls``     stream, group ``owner``; an entry goes when it was answered
``gwsync:{F}:replies:W`` stream of worker W alone; expires a minute after the last one
``gwsync:{F}:pushes``    stream, capped: batches of pushes, numbered without a gap
``gwsync:{F}:snapshot``  hash: state, hello, number and stream position, all as of now
``gwsync:{F}:worker:W``  hash that expires: a worker's heartbeat and how far it has read
``gwsync:{F}:owner``     hash that expires: what the owner says of itself
``gwsync:{F}:handover``  stream: what owners say when one makes way for another
=======================  ========================================================

**Messages** (:mod:`.messages`) are signed with HMAC-SHA256 under the fleet's secret, for
their fleet, kind and place: who can write to Redis and has no secret is not heard. A call is
accepted once by its id, within a minute of Redis's own clock; one that must not run twice
names the fence of the owner it is for, and where its id may have been forgotten it is ``maybe``.
A worker believes in "not taken, send it anew" of the present owner only, and in a view of how
things stand for a minute. Payloads
are not encrypted: use ``rediss://`` and ACLs. What is over 128 KiB goes in several entries.

**The lease** (:mod:`.lease`) is renewed four times in its 1.5 s. The owner believes in it for
nine tenths of that, by its own clock (one that goes on in sleep), counted from before it asked;
every byte to the gateway passes that look (``Writer.guard``), and a link that fails it is shut
down in the same step. A new owner sends when the former released the lease, or a lease's time
after *it* last saw it renewed, by its own clock: neither a Redis that lost its data nor one
whose clock jumped lets two send. What remains: a process that is stopped between the look and
the system call right behind it sends that one write when it wakes; the gateway has no fencing.

**A hand-over** (:mod:`.handover`) has two links for a moment and one sender at each instant;
each push is heard once.

**What each failure does**

* The owner dies or freezes: the lease ends, another owner takes over. Calls it had not been
  given are performed then, if the next one saw it at work (else Redis may have lost what it was
  given); those it had are sent again if they only read or carry an
  idempotency key (the same one), others end ``ConnectionLost(outcome="maybe")``. Workers
  see StateChange(waiting), StateChange(connected), Snapshot.
* What workers asked the gateway to push (``sessions.subscribe``) is in the snapshot, and asked
  for by the next owner before anybody hears of its link. A Redis that forgot has lost that too,
  unless the owner lived on.
* The owner is parked: so are the workers; ``connect()`` of any has it try once more.
* No owner: calls wait in the worker, 10,000 at most, inside their timeout: ``not_sent``.
* Redis is away: the same for workers; who was asked before is asked again by id when it is
  back. The owner gives up the link if that is longer than its lease.
* A worker dies: its keys expire, what it asked for is performed and nobody hears of it.
* A worker falls behind the cap: ``Dropped(count)``. One that was away goes on where it was.
* A call's time is over: it is taken back unless the owner has it already.

Redis is spoken to in native threads of our own (:mod:`.store`), never on the hub thread.
"""
