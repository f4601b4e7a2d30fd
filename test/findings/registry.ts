/**
 * What proves each line of the findings. `npm run findings` runs exactly these tests. A title is written as in its file, with what stands
 * before it in `describe`; its placeholders stand for every case.
 */

/** File below test/, then titles. */
export type Proof = readonly [file: string, first: string, ...others: string[]]

export type Entry =
  | { readonly proofs: readonly [Proof, ...Proof[]] }
  /** Other lines prove it. */
  | { readonly by: readonly [string, ...string[]] }
  /** Kept in another way than it says, and why; with tests of that way. */
  | { readonly deviation: string; readonly proofs: readonly [Proof, ...Proof[]] }
  /** A system that is not built yet. */
  | { readonly open: string }

const WALLET = 'wallet not built yet'
const PKI = 'certificate authority for workloads not built yet'
const TAILSCALE = 'Tailscale integration not built yet'
const WORKLOADS = 'workloads not built yet'

const MATRIX: Proof = ['host/gateway-connection.test.ts', 'a %s > with %s: %s']
const FILES = 'host/private-file.test.ts'
const BOTH = 'both/secret-bytes.test.ts'

const TRANSPORT: Readonly<Record<string, Entry>> = {
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

const FILE_MODES: Readonly<Record<string, Entry>> = {
  'M2.1': {
    proofs: [
      [
        FILES,
        'under umask %s > a written file is 0600',
        'under umask %s > a created file is 0600',
        'creating never overwrites, not even a dangling symlink',
        'a file that others could read is closed to them when it is replaced',
      ],
      [
        'findings/private-file-window.test.ts',
        'under umask %s > %s creates no file that others could open for a moment',
      ],
      ['agent/node-files.test.ts', 'key files > are 0600 under umask %o, and the same keys come back (M-2)'],
    ],
  },
  'M2.2': {
    proofs: [
      [FILES, 'under umask %s a directory is 0700, and so is each made on the way'],
      ['cli/up.test.ts', 'the first start makes everything, private, and serves over its own CA'],
      [
        'agent/join.test.ts',
        'clawnode join > keeps keys and state, each 0600 in a directory of 0700, with the CA from the token',
      ],
      [
        'findings/hygiene.test.ts',
        'the one way (L2.2, M2.1, H1.5) > to write a file of agent and CLI is the module of private files',
      ],
    ],
  },
  'M2.3': {
    proofs: [
      [
        FILES,
        'reading refuses > mode %s, and says how to mend it',
        'reading refuses > a symlink',
        'reading refuses > a directory and a pipe, without waiting',
        'a directory is refused > with mode %s, and says how to mend it',
        'a directory is refused > that is a symlink',
      ],
      ['agent/node-files.test.ts', 'key files > that others can read, or that are links, are refused'],
    ],
  },
  'M2.4': {
    proofs: [
      [FILES, 'a failed write leaves nothing behind', 'content comes back as it was written'],
      [
        'agent/node-files.test.ts',
        'key files > that cannot be saved end it there, and leave nothing behind',
        'key files > that are %s are refused without a word of their content',
        'key files > hold 32 bytes in base64 and a line feed; other white space at the end is tolerated',
      ],
    ],
  },
  'M2.5': {
    proofs: [
      [
        'agent/node-files.test.ts',
        'key files > are 0600 under umask %o, and the same keys come back (M-2)',
        'key files > of another directory are other keys',
      ],
    ],
  },
}

const ERRORS: Readonly<Record<string, Entry>> = {
  'M3.1': { open: TAILSCALE },
  'M3.2': { open: TAILSCALE },
  'M3.3': {
    proofs: [
      [
        'mesh/exec.test.ts',
        'running a command > a failure names program and status, and neither arguments nor input (M3.3)',
      ],
    ],
  },
  'M3.4': {
    proofs: [
      ['e2e/canary.test.ts', 'nothing that was secret is anywhere it should not be'],
      [
        'cli/secret.test.ts',
        'set and get > a value is never an argument, a name never nonsense, a file never too large, an age file never of a managed one',
      ],
    ],
  },
  'M3.5': { open: TAILSCALE },
  'M3.6': {
    proofs: [
      [
        'findings/outside.test.ts',
        'a refusal > repeats nothing of the request and tells nothing of the inside, whatever was wrong (M3.6)',
      ],
      ['gateway/enrol.test.ts', 'enrolment > names the wrong fields of a body, and echoes nothing'],
      ['cli/commands.test.ts', 'where the gateway is > a wrong admin token is not repeated'],
      ['fuzz/frames.test.ts', 'the agent reads from the gateway > and logs nothing of what a frame says'],
      [
        'fuzz/proofs.test.ts',
        'a join token > is not found in what is none, and the refusal repeats nothing of it',
      ],
    ],
  },
  'M3.7': {
    proofs: [
      ['gateway/enrol.test.ts', 'enrolment > tells malformed, unknown, expired and revoked tokens apart'],
      [
        'gateway/session.test.ts',
        'the upgrade > needs a proof by an enrolled node, for this gateway, method and path, within its minute, once',
      ],
      ['agent/join.test.ts', 'a refusal of the gateway is shown with its code and request'],
    ],
  },
  'L1.1': { open: WALLET },
  'L1.2': { open: WALLET },
  'L1.3': { open: WALLET },
  'L1.4': { open: WALLET },
  'L2.1': {
    proofs: [
      [
        'findings/session-log.test.ts',
        'a session from its first frame to its last leaves no whole id in any log, at any level',
      ],
      [
        'agent/log.test.ts',
        'log > shows eight characters of a session id, wherever it comes in, at every level (L-2)',
      ],
      ['agent/run.test.ts', 'clawnode run > logs JSON lines without a word of any key, token or proof'],
    ],
  },
  'L2.2': {
    proofs: [
      [
        'findings/secret-forms.test.ts',
        'a masked id (L2.2) > shows eight characters however it is printed, and nothing of one that has no more (L2.3)',
      ],
      [
        'findings/hygiene.test.ts',
        'the one way (L2.2, M2.1, H1.5) > to log is the agent’s logger: nothing else of it writes to standard error',
      ],
      ['agent/log.test.ts', 'log > shows no token and no key'],
    ],
  },
  'L2.3': {
    proofs: [
      [
        'findings/secret-forms.test.ts',
        'a masked id (L2.2) > shows eight characters however it is printed, and nothing of one that has no more (L2.3)',
      ],
      ['agent/log.test.ts', 'log > never throws on odd text'],
    ],
  },
}

const KEPT: Readonly<Record<string, Entry>> = {
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

const RECOMMENDATIONS: Readonly<Record<string, Entry>> = {
  R1: { by: ['H1.1', 'H1.2', 'H1.5', 'H1.8'] },
  R2: { by: ['H1.1', 'H1.3'] },
  R3: { by: ['M2.1', 'M2.2', 'M2.3', 'M2.4', 'M2.5'] },
  R4: { by: ['M1.1', 'M1.2', 'M1.3', 'M1.4', 'M1.5', 'M1.6', 'M1.7'] },
  R5: { by: ['M3.3', 'M3.4', 'M3.6', 'M3.7'] },
  R6: { open: WALLET },
  R7: { by: ['L2.1', 'L2.2', 'L2.3'] },
  R8: {
    proofs: [
      [
        'findings/transport.test.ts',
        'clawnode > tells all that is wrong at once, before anything is sent or written (R8)',
        'clawnode > shows its configuration without the pins and without a password (R8)',
      ],
      [
        'gateway/edge.test.ts',
        'the edge > answers 503 while a binding or secret is missing or malformed, on every route',
      ],
      ['cli/up.test.ts', 'wrong flags are all named before anything is touched'],
    ],
  },
}

const DEFECTS: Readonly<Record<string, Entry>> = {
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

const BEYOND: Readonly<Record<string, Entry>> = {
  G1: {
    proofs: [
      [
        'agent/interceptor.test.ts',
        'a CA-valid certificate in between is found out by the gateway’s key and by what the node saw',
      ],
      [
        'agent/gateway-key.test.ts',
        'a session with somebody who lacks the gateway’s key > is ended before anything is believed, is tried again, and is an alarm',
        'a session with somebody who lacks the gateway’s key > is no session if the signature is for %s',
        'a join token > names the only key that may answer the enrolment: an impostor’s answer is not kept',
        'a new gateway key > that nobody announced is an impostor’s',
      ],
      [
        'agent/impostor.test.ts',
        'a refusal %s > that says %s in place of a session decides nothing',
        'a refusal %s > does not move the clock of a session',
        'a reply > %s is not taken for the gateway’s',
        'before `registered` > %s and its close code are no verdict, and no hot loop',
      ],
      [
        'gateway/signed-answer.test.ts',
        'the signature of an answer > is on a reply and on each kind of refusal',
        'the signature of an answer > does not cover another proof with the same id',
      ],
      [
        'gateway/identity.test.ts',
        "the gateway's key > signs each session anew",
        'the channel statement > holds only for our certificate, this session and this node',
      ],
    ],
  },
  G2: {
    proofs: [
      [
        'gateway/identity.test.ts',
        'a clone > shows as a generation used before: the identity is held, named to the owner, and free after release',
        'a clone > is not what a restart looks like: each session raises the generation',
      ],
      ['agent/session.test.ts', 'generations > rise with each session, and are on disk before it begins'],
    ],
  },
  G3: {
    proofs: [
      [
        'gateway/identity.test.ts',
        'a new identity key > is taken when old and new key sign; the node stays who it is and the old key is refused',
      ],
      [
        'gateway/session.test.ts',
        'the upgrade > is refused to a removed node, whose socket is cut and whose identity stays refused',
      ],
    ],
  },
  G4: {
    proofs: [
      [
        'fuzz/frames.test.ts',
        'the gateway reads from a node > nothing else: it never throws, and what it accepts is exactly what was sent',
      ],
      ['fuzz/proofs.test.ts', 'a proof > is not found in what is none, and looking never throws'],
    ],
  },
}

const MESH_KEYS: Readonly<Record<string, Entry>> = {
  K1: {
    proofs: [
      [
        'gateway/wireguard-key.test.ts',
        'another WireGuard key > is announced beside the one in force, then takes its place; peers and the trail follow',
        'another WireGuard key > is not used before it is announced, and is nobody else’s',
        'another WireGuard key > is not for a node that was removed or is held',
      ],
    ],
  },
  K2: {
    proofs: [
      [
        'mesh/key-rotation.netns.test.ts',
        'a WireGuard key that changes (needs root and /dev/net/tun) > loses nothing in either direction, with a pre-shared key of the two as well, and leaves only the new key',
        'a WireGuard key that changes (needs root and /dev/net/tun) > that nobody could be told of is noticed by its handshake; and one that cannot be told of is not used',
        'a WireGuard key that changes (needs root and /dev/net/tun) > that a killed agent had only begun to use is given to the interface by the next one',
      ],
      [
        'agent/wireguard-rotation.test.ts',
        'another WireGuard key > that is cut short at `%s` is finished by the next agent, with the same key',
        'another WireGuard key > waits for the gateway, and is done when it is back',
      ],
    ],
  },
  K3: {
    proofs: [
      [
        'mesh/psk-agreement.test.ts',
        'a pre-shared key > is agreed on when it begins with the one %s',
        'a pre-shared key > is not taken if anything of the exchange was changed',
        'a pre-shared key > that one end has lost is agreed on anew; without an answer it is given up, and the pair lives',
        'ML-KEM-768 > comes to the same secret as another implementation, both ways',
      ],
    ],
  },
  K4: {
    proofs: [
      [
        'mesh/map-lease.test.ts',
        'the lease of the map > is not lengthened by a restart, nor by a crash, nor by a reboot',
        'the lease of the map > ends with a clock that was set back across a reboot, also to a time after it was granted',
        'the lease of the map > within a boot the wall clock cannot lengthen it',
      ],
      [
        'mesh/map-lease.netns.test.ts',
        'peers are spoken to for as long as the lease lasts, also after a restart',
      ],
      ['gateway/identity.test.ts', "the gateway's key > signs each session anew"],
    ],
  },
  K5: {
    proofs: [
      [
        'mesh/wireguard.netns.test.ts',
        'real WireGuard (needs root and /dev/net/tun) > a third node does not disturb the two, and is out at once when it is removed',
      ],
      [
        'e2e/mesh-keys.test.ts',
        'while traffic flows (needs root and /dev/net/tun) > a node that is removed is cut off by each of its peers within two seconds, whatever it is doing',
      ],
    ],
  },
}

export const REGISTRY: Readonly<Record<string, Entry>> = {
  ...TRANSPORT,
  ...FILE_MODES,
  ...ERRORS,
  ...KEPT,
  ...RECOMMENDATIONS,
  ...DEFECTS,
  ...BEYOND,
  ...MESH_KEYS,
}
