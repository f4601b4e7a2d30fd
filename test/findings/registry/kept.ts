/** Lines about what was good and is kept. */
import type { Entry } from './entry.ts'

const PKI = 'certificate authority for workloads not built yet'
const BOTH = 'both/secret-bytes.test.ts'

export const KEPT: Readonly<Record<string, Entry>> = {
  'I1.1': {
    proofs: [
      [BOTH, 'secret bytes > are redacted in every printed form'],
      [
        'findings/secret-forms.test.ts',
        'secret bytes > show their length and a mark, in whatever way they are printed, copied or compared (I1.1)',
      ],
    ],
  },
  'I1.2': {
    proofs: [
      [BOTH, 'secret bytes > compare by content, also where the lengths differ'],
      [
        'findings/secret-forms.test.ts',
        'secret bytes > of different lengths are unequal, and no shorter one is equal to the beginning of a longer (I1.2)',
      ],
    ],
  },
  'I1.3': { proofs: [[BOTH, 'secret bytes > are zero after a wipe, and refuse every later use']] },
  'I1.4': {
    proofs: [
      ['gateway/secrets.test.ts', 'a secret > leaves no plaintext byte in D1 or KV'],
      ['e2e/at-rest.test.ts', 'holds only ciphertext and hashes'],
      ['e2e/canary.test.ts', 'nothing that was secret is anywhere it should not be'],
    ],
  },
  'I2.1': {
    proofs: [
      [
        'both/vectors.test.ts',
        'secrets at rest > derive the key of %s as the original does',
        'secrets at rest > frame a value as the original does',
        'BLAKE3 > derive_key gives the official output for every length',
      ],
    ],
  },
  'I2.2': { proofs: [[BOTH, 'a frame > opens to what was sealed, under its own name and master only']] },
  'I2.3': { proofs: [[BOTH, 'a frame > opens to what was sealed, under its own name and master only']] },
  'I2.4': {
    proofs: [
      [
        BOTH,
        'a frame > does not open once any byte has changed or is missing',
        'a frame > never repeats a nonce in 100 000 seals',
      ],
      [
        'both/vectors.test.ts',
        'secrets at rest > pass every Wycheproof case of ChaCha20-Poly1305 that has our nonce and no associated data',
      ],
      ['gateway/secrets.test.ts', 'a secret > is not decrypted once a byte of its frame has changed'],
    ],
  },
  'I3.1': {
    proofs: [
      [
        'findings/hygiene.test.ts',
        'randomness (I3.1) > of the Worker is the platform’s: its bundle does not know Math.random',
        'randomness (I3.1) > without security is one function of the agent’s clock, which spreads load',
      ],
      [
        'findings/secret-forms.test.ts',
        'secret bytes > are what WireGuard keys and the keyring are made of (I3.1)',
      ],
    ],
  },
  'I3.2': {
    proofs: [
      [BOTH, 'secret bytes > are zero after a wipe, and refuse every later use'],
      ['mesh/wg-dump.test.ts', 'reading `wg show dump` > wipes the secrets in the bytes it was given'],
    ],
  },
  'I3.3': {
    proofs: [
      ['gateway/session.test.ts', 'frames > refuses %s with its code'],
      [
        'fuzz/frames.test.ts',
        'the gateway reads from a node > no private key, whatever it is called and wherever it is (X16, I-3)',
      ],
    ],
  },
  'I3.4': {
    proofs: [
      [
        'both/vectors.test.ts',
        'X25519 > gives the public key of 32 bytes of %i',
        'X25519 > agrees as in every valid Wycheproof case',
      ],
    ],
  },
  'I4.1': { open: PKI },
  'I5.1': { open: `${PKI}; for the gateway’s own certificate see M1.7` },
  'I5.2': { open: PKI },
  'I5.3': {
    proofs: [
      [
        'cli/gateway-files.test.ts',
        'the server certificate > is for every name and address, lives at most 397 days and is backdated an hour',
      ],
    ],
  },
  'I6.1': {
    proofs: [
      [
        'findings/hygiene.test.ts',
        'the tree (I-6) > holds not %s',
        'the tree (I-6) > has no default for a secret: every binding that holds one is absent from wrangler.toml',
      ],
      [
        'gateway/edge.test.ts',
        'the edge > answers 503 while a binding or secret is missing or malformed, on every route',
      ],
      ['cli/gateway-files.test.ts', 'a lost %s of a gateway that has served is an error, not a new one'],
    ],
  },
  'I7.1': {
    proofs: [
      [
        'gateway/secrets.test.ts',
        'the audit trail > has an entry for each write, read, list and removal, with actor and request, and no value',
      ],
      [
        'gateway/secrets.test.ts',
        'a secret > is denied to a node without right, with a code that says why, in the trail as well',
      ],
    ],
  },
  'I7.2': {
    proofs: [
      [
        'gateway/secrets.test.ts',
        'the audit trail > has an entry for each write, read, list and removal, with actor and request, and no value',
      ],
      [
        'gateway/secrets.test.ts',
        'a secret > is denied to a node without right, with a code that says why, in the trail as well',
      ],
      ['gateway/enrol.test.ts', 'enrolment > is recorded as denied where the registry refuses it'],
    ],
  },
  'I7.3': {
    deviation:
      'the entry comes first and is awaited, because the trail and the stores are different objects: an entry may lack its action, never an action its entry',
    proofs: [['findings/audit-first.test.ts', '%s %s does nothing if it cannot be recorded']],
  },
  'I7.4': {
    proofs: [
      [
        'unit/audit-tampering.test.ts',
        'a log that somebody has touched > is found out, more than 10 000 times at random',
      ],
      ['e2e/audit.test.ts', 'whoever has the disk > is found out when $what'],
      [
        'agent/audit-witness.test.ts',
        'a trail that does not go on > because it %s, is not believed: the old checkpoint stays, and it is said',
      ],
      ['gateway/audit-log.test.ts', 'the tree > has the same root after a restart at any size'],
      [
        'gateway/audit-log.test.ts',
        'an archive > is refused to whoever has another log, and says so before anything goes',
      ],
    ],
  },
  'I7.5': {
    proofs: [
      [
        'gateway/secrets.test.ts',
        'the audit trail > has an entry for each write, read, list and removal, with actor and request, and no value',
      ],
      ['e2e/canary.test.ts', 'nothing that was secret is anywhere it should not be'],
    ],
  },
}
