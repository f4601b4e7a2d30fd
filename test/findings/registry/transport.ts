/** Lines about transport. */
import type { Entry, Proof } from './entry.ts'

const MATRIX: Proof = ['host/gateway-connection.test.ts', 'a %s > with %s: %s']

export const TRANSPORT: Readonly<Record<string, Entry>> = {
  'H1.1': {
    proofs: [
      [
        'findings/transport.test.ts',
        'clawnode > refuses %s with "%s" before any socket, in words that name both (H1.1, H1.4)',
      ],
      ['agent/join.test.ts', 'clawnode join sends nothing > %s'],
    ],
  },
  'H1.2': {
    proofs: [
      [
        'host/gateway-url.test.ts',
        '%s',
        '%s is plaintext',
        '%j is no address',
        'a password in an address is not repeated',
        'whatever the text: it is refused, or it is TLS to the host it names',
      ],
    ],
  },
  'H1.3': {
    deviation: 'require_tls = false is refused: there is no plaintext port, so it could only leak',
    proofs: [
      [
        'findings/transport.test.ts',
        'clawnode > does not offer require_tls = false: there is no plaintext port to speak to (H1.3, H1.9)',
      ],
    ],
  },
  'H1.4': {
    deviation: 'there is no exemption, loopback included',
    proofs: [
      [
        'findings/transport.test.ts',
        'clawnode > refuses %s with "%s" before any socket, in words that name both (H1.1, H1.4)',
      ],
      ['host/gateway-url.test.ts', '%s is plaintext'],
    ],
  },
  'H1.5': {
    proofs: [
      [
        'findings/transport.test.ts',
        'a WebSocket is not led to another place by a redirect, plaintext or not (H1.5)',
      ],
      ['host/gateway-requests.test.ts', 'a redirect (%i) is not followed'],
      ['host/gateway-url.test.ts', 'a path cannot lead to another host'],
      [
        'findings/hygiene.test.ts',
        'the one way (L2.2, M2.1, H1.5) > to open a connection to a gateway is the agent of checked connections',
      ],
    ],
  },
  'H1.6': {
    proofs: [
      MATRIX,
      ['host/gateway-connection.test.ts', 'to a server whose handshake fails, nothing readable is sent'],
    ],
  },
  'H1.7': {
    proofs: [
      ['cli/commands.test.ts', 'where the gateway is > is nowhere without TLS, whatever else is right'],
      ['findings/transport.test.ts', 'claw keeps to the same rule, loopback or not (H1.7)'],
    ],
  },
  'H1.8': {
    proofs: [
      [
        'gateway/edge.test.ts',
        'the edge > answers plain HTTP with an error on every route, upgrades included, and does nothing else',
      ],
      [
        'gateway/identity.test.ts',
        'a credential that came over plain HTTP > is revoked when it is a join token, and the trail says so',
        'a credential that came over plain HTTP > is used up when it is the proof of a node',
        'a credential that came over plain HTTP > is revoked when it is the admin token, for good',
        'old TLS > is refused where Cloudflare reports it',
      ],
      [
        'findings/hygiene.test.ts',
        'the tree (I-6) > holds no plaintext address of a gateway in documents, examples and defaults (H1.8)',
      ],
    ],
  },
  'H1.9': {
    deviation: 'refused by default and with the opt-out, because there is no plaintext port',
    proofs: [
      [
        'findings/transport.test.ts',
        'clawnode > does not offer require_tls = false: there is no plaintext port to speak to (H1.3, H1.9)',
      ],
    ],
  },
  'M1.1': {
    proofs: [
      MATRIX,
      ['host/gateway-connection.test.ts', 'a CA that is none fails at once'],
      [
        'findings/transport.test.ts',
        'clawnode > tells all that is wrong at once, before anything is sent or written (R8)',
      ],
    ],
  },
  'M1.2': {
    proofs: [
      [
        'host/pins.test.ts',
        'colons, case and the base64 form all read the same',
        'anything else is refused > %j',
        'a renewed certificate of the same key still matches, one of another key does not',
      ],
      MATRIX,
    ],
  },
  'M1.3': {
    proofs: [
      [
        'findings/pinned-chain.test.ts',
        'a CA that only looks like the one that signed does not satisfy its own pin',
      ],
      MATRIX,
      ['host/gateway-connection.test.ts', 'a mismatch does not say which pin was expected'],
    ],
  },
  'M1.4': {
    proofs: [
      MATRIX,
      ['host/gateway-connection.test.ts', 'a %s > is not talked out of its checks by the environment'],
    ],
  },
  'M1.5': {
    proofs: [
      MATRIX,
      [
        'findings/transport.test.ts',
        'clawnode > tells all that is wrong at once, before anything is sent or written (R8)',
      ],
    ],
  },
  'M1.6': {
    proofs: [
      [
        'host/gateway-connection.test.ts',
        'a %s > checks the pin anew on each connection: a server that swaps its key is refused',
      ],
    ],
  },
  'M1.7': { proofs: [MATRIX] },
}
