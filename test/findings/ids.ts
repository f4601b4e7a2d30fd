/** Every finding of the audit, every line of what it asks for, in the words by which the lines are kept. The list is complete: nothing leaves it. */

export interface Finding {
  readonly title: string
  readonly lines: Readonly<Record<string, string>>
}

export const FINDINGS: Readonly<Record<string, Finding>> = {
  'H-1': {
    title: 'Insecure transport',
    lines: {
      'H1.1': 'ws:// is refused before any socket, naming ws:// and require_tls',
      'H1.2': 'wss:// is accepted; the check parses the URL; odd addresses are refused',
      'H1.3': 'require_tls = false with ws:// loads with one warning',
      'H1.4': 'a loopback exemption, if any, is explicit and limited',
      'H1.5': 'the connection layer enforces it too: construction, reconnect, redirect',
      'H1.6': 'no application byte leaves before TLS holds',
      'H1.7': 'the CLI obeys the same rule',
      'H1.8': 'the gateway answers nothing over plain HTTP; no ws:// in docs',
      'H1.9': 'the pair of tests: refused by default, accepted with the opt-out',
    },
  },
  'M-1': {
    title: 'No certificate pinning',
    lines: {
      'M1.1': 'gateway_ca_cert: only chains ending there; a bad file fails at start',
      'M1.2': 'gateway_cert_fingerprint: SHA-256 of the SPKI, several allowed, malformed ones fail at start',
      'M1.3': 'a wrong pin closes before data, with an error of its own that hides the pin',
      'M1.4': 'a pin adds to chain, name and dates, and replaces none of them',
      'M1.5': 'CA and pin together mean both; with ws:// they are an error',
      'M1.6': 'the pin is checked on every connection',
      'M1.7': 'the matrix of trust on real sockets',
    },
  },
  'M-2': {
    title: 'Key file permissions',
    lines: {
      'M2.1': 'a key file is 0600 from its first moment, under any umask, and placed atomically',
      'M2.2': 'so is every secret the system writes; directories are 0700',
      'M2.3': 'files that others can read, links and foreign files are refused',
      'M2.4': 'a failed write leaves nothing; a malformed key is refused without its content',
      'M2.5': 'the same path gives the same key, another path another',
    },
  },
  'M-3': {
    title: 'Details of authentication in errors',
    lines: {
      'M3.1': 'Tailscale sources: generic messages',
      'M3.2': 'Tailscale sources: the cause at debug level, never the key',
      'M3.3': 'a failing external command puts no argument into any error',
      'M3.4': 'no key in an argument list',
      'M3.5': 'the Tailscale configuration prints redacted',
      'M3.6': 'refusals repeat no request bytes, stack, path, setting or SQL',
      'M3.7': 'kinds of errors are told apart by code',
    },
  },
  'L-1': {
    title: 'Wallet secret accessor',
    lines: {
      'L1.1': 'one named way to the secret bytes',
      'L1.2': 'no printed form shows them',
      'L1.3': 'redacted, constant-time, wipeable',
      'L1.4': 'others sign through the wallet',
    },
  },
  'L-2': {
    title: 'Session ids in logs',
    lines: {
      'L2.1': 'a whole session leaves no whole id in any log',
      'L2.2': 'the type masks, not the caller',
      'L2.3': 'short ids by a stated rule; ids are no credentials and go to nobody',
    },
  },
  'I-1': {
    title: 'Secret values (kept)',
    lines: {
      'I1.1': 'printed forms show length and a mark',
      'I1.2': 'equality is constant-time and safe for other lengths',
      'I1.3': 'wiping zero-fills, and later reads throw',
      'I1.4': 'plaintext reaches no store, log or error',
    },
  },
  'I-2': {
    title: 'Key derivation (kept)',
    lines: {
      'I2.1': 'BLAKE3 derive_key as the original, by its vectors',
      'I2.2': 'other ids and masters give other keys',
      'I2.3': 'a ciphertext does not open under another id',
      'I2.4': 'the frame is 12 + n + 16; any change is refused with one error; nonces do not repeat',
    },
  },
  'I-3': {
    title: 'WireGuard keys (kept)',
    lines: {
      'I3.1': 'keys are redacted, compared in constant time, and drawn from a CSPRNG',
      'I3.2': 'they can be wiped',
      'I3.3': 'no message has a field for a private key, and a frame with one is refused',
      'I3.4': 'X25519 vectors',
    },
  },
  'I-4': { title: 'PKI keys (kept)', lines: { 'I4.1': 'key wrapper, CSR, exposure gate' } },
  'I-5': {
    title: 'Certificate validation (kept)',
    lines: {
      'I5.1': 'expired, not yet valid, wrong issuer, bad signature: an error each',
      'I5.2': 'CA flag, usages, path length, anchor, EKU, SAN, revocation',
      'I5.3': 'one hour of backdating',
    },
  },
  'I-6': {
    title: 'No credentials in the code (kept)',
    lines: { 'I6.1': 'secret scan; no defaults; missing secrets fail the start' },
  },
  'I-7': {
    title: 'Audit of secret access (kept)',
    lines: {
      'I7.1':
        'create, read, update, delete, rotate and denial each leave an entry, denials with their reason',
      'I7.2': 'missing ids, policy changes, lists and overwrites too, with the real actor',
      'I7.3': 'no action without its entry; entries survive restarts',
      'I7.4': 'append-only, retained, chained',
      'I7.5': 'entries hold no values',
    },
  },
  R: {
    title: 'Recommendations',
    lines: {
      R1: 'enforce wss',
      R2: 'an option to require it, on by default',
      R3: '0600 key files',
      R4: 'certificate pinning',
      R5: 'sanitised errors',
      R6: 'restricted wallet secret',
      R7: 'masked session ids',
      R8: 'the security configuration is validated in one pass at start',
    },
  },
  X: {
    title: 'Defects beside the audit',
    lines: {
      X1: 'no authentication of nodes and CLI',
      X2: 'node ids could be spoofed',
      X3: 'limits on size and violations were off',
      X4: 'no first-frame timeout; a slow client stalled the accept',
      X5: 'nodes never left on close',
      X6: 'errors of handlers were swallowed',
      X7: 'a second register was half ignored',
      X8: 'workload updates from anybody',
      X9: 'unbounded maps and logs',
      X10: 'nothing was ever dispatched',
      X11: 'impossible workload transitions',
      X12: 'the scheduler debited nothing',
      X13: 'ghosts of failed starts',
      X14: 'reconnects without delay; missed acks ignored',
      X15: 'node ids did not persist',
      X16: 'the gateway sent WireGuard private keys',
      X17: 'allocators left the CIDR and reused nothing',
      X18: 'a ceiling of 254 subnets',
      X19: 'newcomers were not announced',
      X20: 'an expired policy locked the owner out',
      X21: 'put overwrote silently and reset the version',
      X22: 'lookups of missing secrets went unrecorded',
      X23: 'wallet file permissions',
      X24: 'races of the simulated ledger',
      X25: 'selectors failed open',
      X26: 'scopes and roles failed open; nbf not enforced',
      X27: 'rotation changed usages',
      X28: 'IPv6 peers got /32',
      X29: 'old handshakes counted as fresh',
      X30: 'the protocol version was never checked',
      X31: 'bad arguments were ignored',
      X32: '[N/A] utilisation broke GPU metrics',
    },
  },
  G: {
    title: 'Beyond the audit',
    lines: {
      G1: 'whoever is in between with a trusted certificate is not taken for the gateway',
      G2: 'a cloned disk is noticed, held and released',
      G3: 'an identity key can be replaced; removal cuts the socket',
      G4: 'spoiled frames, proofs and tokens are refused whatever they are',
    },
  },
  K: {
    title: 'Keys and leases of the mesh',
    lines: {
      K1: 'a WireGuard key is announced, in the trail, before it is used, and is nobody else’s',
      K2: 'it changes under traffic without loss, and ends as the old one or the new one wherever it is cut short',
      K3: 'two nodes share a key of which neither the gateway nor a disk learns; a pair is not lost to it',
      K4: 'a node that is cut off from the gateway uses the map for the time that the gateway has signed, and no longer',
      K5: 'a removed node is cut off by its peers at once',
    },
  },
}

export const ALL_LINES: readonly string[] = Object.values(FINDINGS).flatMap(({ lines }) => Object.keys(lines))
