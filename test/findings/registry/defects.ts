/** Lines about defects the audit did not name. */
import type { Entry } from './entry.ts'

const WALLET = 'wallet not built yet'
const PKI = 'certificate authority for workloads not built yet'
const WORKLOADS = 'workloads not built yet'

export const DEFECTS: Readonly<Record<string, Entry>> = {
  X1: {
    proofs: [
      [
        'gateway/session.test.ts',
        'the upgrade > needs a proof by an enrolled node, for this gateway, method and path, within its minute, once',
      ],
      [
        'gateway/session.test.ts',
        'the upgrade > admits a proof once under concurrency, and remembers it when the object was evicted',
      ],
      ['gateway/edge.test.ts', 'the edge > wants the admin token on every administrative route'],
      ['fuzz/proofs.test.ts', 'a proof > that was changed anywhere is refused, or says what it said'],
    ],
  },
  X2: {
    proofs: [
      ['gateway/session.test.ts', 'frames > refuses %s with its code'],
      [
        'fuzz/frames.test.ts',
        'the gateway reads from a node > no node id beside the one the session is bound to (X2)',
      ],
    ],
  },
  X3: {
    proofs: [
      [
        'gateway/session.test.ts',
        'frames > refuses %s with its code',
        'frames > closes the session at the third refusal',
        'frames > slows a flood down with E_FRAME_RATE',
      ],
      [
        'fuzz/frames.test.ts',
        'the gateway reads from a node > nothing beyond the limit, counted in bytes and not in characters (X3)',
      ],
      ['gateway/edge.test.ts', 'the edge > refuses bodies over the limit, whatever Content-Length says'],
      ['gateway/identity.test.ts', 'rate limits > stop a prefix that guesses, and not the one beside it'],
    ],
  },
  X4: {
    proofs: [
      ['gateway/session.test.ts', 'frames > closes a socket whose register comes too late, as it is told to'],
      [
        'findings/outside.test.ts',
        'a peer that is slow or silent (X4) > holds nobody else up: not by the hundred, in the handshake, in a header, in a body or before its first frame',
        'a peer that is slow or silent (X4) > that opens a session and says nothing is told so in time, and closed',
      ],
    ],
  },
  X5: {
    proofs: [
      [
        'gateway/session.test.ts',
        'presence > is online with a session and offline at its close, with the time it was last seen',
        'presence > ends as a lease: suspect after 30 s, offline after 60 s, closed by the sweep',
      ],
    ],
  },
  X6: {
    proofs: [
      [
        'gateway/session.test.ts',
        'frames > refuses %s with its code',
        'frames > closes the session at the third refusal',
      ],
      [
        'gateway/frame-failure.test.ts',
        'a frame whose handling fails > ends a session that has not begun, with the reason, and the next one begins',
        'a frame whose handling fails > says that the gateway is not whole when an object was reset under it',
        'a frame whose handling fails > leaves a session that is up as it is',
      ],
      ['agent/session.test.ts', 'after a loss > of the gateway’s own making, its reason is kept'],
    ],
  },
  X7: {
    proofs: [
      [
        'gateway/session.test.ts',
        'frames > refuses a second register',
        'two sessions of one node > end with the newer one, and both are told',
      ],
    ],
  },
  X8: { open: WORKLOADS },
  X9: {
    proofs: [
      [
        'gateway/audit-log.test.ts',
        'an archive > takes the entries of full bundles, in parts, and leaves every hash',
      ],
      [
        'cli/audit.test.ts',
        'an archive is a verified copy; what is pruned is read from there, and from nowhere else',
      ],
      ['unit/docs.test.ts', 'docs/protocol.md > limits'],
    ],
  },
  X10: { open: WORKLOADS },
  X11: { open: WORKLOADS },
  X12: { open: WORKLOADS },
  X13: { open: WORKLOADS },
  X14: {
    proofs: [
      [
        'agent/session.test.ts',
        'a session > whose pings go unanswered three times is dropped, and a new one begins (X14)',
        'after a loss > the wait is spread, grows while the gateway refuses, and shrinks only after two stable minutes',
      ],
      [
        'agent/backoff.test.ts',
        'a herd of ten thousand that loses its gateway for a minute never comes at once, and is back within another',
      ],
      ['agent/run.test.ts', 'clawnode run > goes on without a gateway, says so, and stops on SIGINT'],
    ],
  },
  X15: {
    proofs: [
      [
        'agent/join.test.ts',
        'clawnode join > is the same node after a lost answer, and when it is done again',
      ],
      ['agent/node-files.test.ts', 'key files > that are missing are not made up when the node is to run'],
      [
        'gateway/identity.test.ts',
        'a clone > shows as a generation used before: the identity is held, named to the owner, and free after release',
      ],
    ],
  },
  X16: {
    proofs: [
      [
        'fuzz/frames.test.ts',
        'the gateway reads from a node > no private key, whatever it is called and wherever it is (X16, I-3)',
      ],
      [
        'fuzz/frames.test.ts',
        'the agent reads from the gateway > nothing else: it never throws, and what it accepts is exactly what was sent',
      ],
    ],
  },
  X17: {
    proofs: [
      [
        'findings/address-pool.test.ts',
        'never leave the range, are never given to two, and are given again only after their rest',
      ],
    ],
  },
  X18: {
    proofs: [
      ['findings/address-pool.test.ts', 'reach beyond 254 and beyond 65 000: the ceiling is the range (X18)'],
      [
        'gateway/node-routes.test.ts',
        'the address of a node > stays when the range grows; a range that no longer holds it lets nobody join',
      ],
    ],
  },
  X19: {
    proofs: [
      [
        'gateway/mesh.test.ts',
        'the mesh map > reaches a newcomer as a snapshot and everybody else as a delta of one entry',
      ],
    ],
  },
  X20: {
    deviation: 'policies do not expire, and the owner’s own access does not depend on any',
    proofs: [
      [
        'gateway/secrets.test.ts',
        'a secret > comes back as it went in, to the nodes and tags allowed and to the administrator',
      ],
    ],
  },
  X21: {
    proofs: [
      [
        'gateway/secrets.test.ts',
        'a secret > counts versions, keeps its policy over new values, and goes on counting after it was purged',
      ],
    ],
  },
  X22: {
    proofs: [
      [
        'gateway/secrets.test.ts',
        'a secret > is denied to a node without right, with a code that says why, in the trail as well',
      ],
    ],
  },
  X23: { open: WALLET },
  X24: { open: WALLET },
  X25: { open: WORKLOADS },
  X26: {
    proofs: [
      [
        'gateway/roles.test.ts',
        '%s > for the role %s',
        '%s > takes no request without a credential that it knows',
      ],
      [
        'gateway/api-keys.test.ts',
        'nobody rises above their role > takes no field and no role that there is not',
      ],
      ['unit/roles.test.ts', 'a name that is no role includes none, and is included in none (X26)'],
      [
        'gateway/session.test.ts',
        'the upgrade > needs a proof by an enrolled node, for this gateway, method and path, within its minute, once',
      ],
    ],
  },
  X27: { open: PKI },
  X28: {
    proofs: [
      [
        'mesh/engine.test.ts',
        'peers of the map > go onto the interface with one IPv4 and one IPv6 address each, and without an endpoint without keepalive (X28)',
      ],
    ],
  },
  X29: {
    proofs: [
      [
        'mesh/engine.test.ts',
        'peers of the map > are shown as reachable only while their handshake is fresh (X29)',
      ],
    ],
  },
  X30: {
    proofs: [
      [
        'findings/outside.test.ts',
        'the protocol version (X30) > of a newer node is answered with the newest both know, one that is none is refused',
      ],
    ],
  },
  X31: {
    proofs: [
      ['cli/up.test.ts', 'wrong flags are all named before anything is touched'],
      ['host/command-line.test.ts', '%s is wrong', '%s: %s'],
    ],
  },
  X32: { open: 'GPU telemetry not built yet' },
}
