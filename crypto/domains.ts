/** Domain-separation strings, all of them: no two uses of a key or hash share one. */
export const DOMAIN = {
  /** BLAKE3 context of a per-secret key, followed by the secret's name. The original's, kept for byte compatibility (I-2). */
  secretKey: 'claw-secrets v1 ',
  /** BLAKE3 context of the key under which a node keeps secrets for when its gateway is away. */
  secretCache: 'claw-secret-cache v1',
  /** Hash from which a node's id is cut. */
  nodeId: 'claw-node-id v1',
  /** HPKE `info` of a delivered secret. */
  delivery: 'claw-delivery v2',
  /** HPKE `info` of a signal between two nodes. */
  signal: 'claw-signal v1',
  /** HKDF info of the keys under which two nodes probe paths to each other, followed by fleet, sender and receiver. */
  probe: 'claw-probe v1',
  /** Hash from which the mark is cut by which a probe's sender is known to its peers. */
  probeSender: 'claw-probe-sender v1',
  /** HKDF salt of the pre-shared key of two nodes. */
  psk: 'claw-psk v1',
  /** Gateway's signature over a session's transcript. */
  session: 'claw-session v1',
  /** Gateway's signature over an enrolment's answer. */
  enrolment: 'claw-enrolment v1',
  /** Gateway's signature over its answer to a node's signed request. */
  answer: 'claw-answer v1',
  /** Gateway's statement of the key by which its audit trail is signed. */
  auditKey: 'claw-audit-key v1',
  /** SHA-256 of each entry of a mesh map, for acknowledgements. */
  meshHash: 'claw-mesh-hash v1',
  /** HPKE `info` of what a node answers to a question about its mesh. */
  meshAnswer: 'claw-mesh-answer v1',
  /** Hash from which the id of a peer without an agent is cut. */
  externalPeer: 'claw-external-peer v1',
  /** Gateway's signature over what it allows a node at a relay. */
  relayGrant: 'claw-relay-grant v1',
  /** Gateway's signature over its next key. */
  successor: 'claw-successor v1',
} as const
