/**
 * Every error code that can cross the wire, with its HTTP status and what the person who sees it should do.
 * Codes are stable: programs switch on them. Messages are for people and may change.
 */

interface ErrorKind {
  readonly status: number
  readonly title: string
}

export const ERRORS = {
  // transport and request shape
  E_PLAINTEXT: { status: 426, title: 'This gateway speaks TLS only; use an https:// or wss:// URL.' },
  E_NOT_CONFIGURED: { status: 503, title: 'The gateway is not configured yet.' },
  E_TARGET_INVALID: { status: 400, title: 'The request does not name one host and a path.' },
  E_NOT_FOUND: { status: 404, title: 'There is nothing at this path.' },
  E_BODY_INVALID: { status: 400, title: 'The request body is not what this path takes.' },
  E_BODY_TOO_LARGE: { status: 413, title: 'The request body is larger than this path takes.' },
  E_QUERY_INVALID: { status: 400, title: 'The query parameters are not what this path takes.' },
  E_UPGRADE_REQUIRED: { status: 426, title: 'This path takes WebSocket upgrades only.' },
  E_INTERNAL: { status: 500, title: 'The gateway failed; the request id finds the cause in its log.' },
  E_UNAVAILABLE: { status: 503, title: 'A part of the gateway is not answering; try again shortly.' },

  // people and API keys
  E_AUTH_REQUIRED: { status: 401, title: 'A credential is required.' },
  E_AUTH_INVALID: { status: 401, title: 'The credential is not valid.' },
  E_AUTH_EXPIRED: {
    status: 401,
    title: 'The API key has expired; an administrator can make another with `claw api-key create`.',
  },
  E_AUTH_REVOKED: { status: 401, title: 'The API key was revoked.' },
  E_API_KEY_NAME_TAKEN: { status: 409, title: 'Another API key has that name; revoke it first.' },
  E_API_KEY_NOT_FOUND: { status: 404, title: 'There is no API key of that name.' },
  E_API_KEY_TTL: { status: 403, title: 'An API key ends no later than the one that makes it.' },
  E_ROLE_DENIED: { status: 403, title: 'The role of this credential does not suffice.' },

  // a node's signed requests
  E_PROOF_MALFORMED: { status: 401, title: 'The signed request proof cannot be read.' },
  E_PROOF_SIGNATURE: { status: 401, title: 'The request proof is not signed by this node.' },
  E_PROOF_AUDIENCE: { status: 401, title: 'The request proof is meant for another gateway.' },
  E_PROOF_BINDING: { status: 401, title: 'The request proof is for another method, path or body.' },
  E_PROOF_EXPIRED: {
    status: 401,
    title: "The request proof is outside its minute; compare the node's clock with `time`.",
  },
  E_PROOF_REPLAYED: { status: 401, title: 'This request proof was used before.' },
  E_NODE_UNKNOWN: { status: 401, title: 'No such node is enrolled here.' },
  E_NODE_QUARANTINED: {
    status: 403,
    title: 'This node is held in quarantine; its owner can `claw node release` it.',
  },
  E_CHANNEL: {
    status: 403,
    title: 'The node saw another certificate than the gateway has: somebody sits in between.',
  },
  E_TLS_VERSION: { status: 426, title: 'This gateway wants TLS 1.2 or newer.' },
  E_RATE_LIMITED: { status: 429, title: 'Too many requests; try again after the time in Retry-After.' },
  E_ROTATION_NOT_ASKED: {
    status: 403,
    title: 'Nobody asked this node for a new identity key; its owner can with `claw node rotate-identity`.',
  },
  E_KEY_NOT_ANNOUNCED: {
    status: 409,
    title: 'This WireGuard key was not announced; a node announces a key before it uses it.',
  },
  E_NODE_REMOVED: { status: 403, title: 'This node was removed; join again with a new identity.' },

  // enrolment
  E_TOKEN_MALFORMED: { status: 401, title: 'The join token cannot be read; copy it again in full.' },
  E_TOKEN_UNKNOWN: { status: 401, title: 'This gateway did not issue that join token.' },
  E_TOKEN_EXPIRED: {
    status: 401,
    title: 'The join token has expired; make a new one with `claw token create`.',
  },
  E_TOKEN_USED_UP: {
    status: 401,
    title: 'The join token has no uses left; make a new one with `claw token create`.',
  },
  E_TOKEN_REVOKED: {
    status: 401,
    title: 'The join token was revoked; make a new one with `claw token create`.',
  },
  E_ENROL_INVALID: { status: 400, title: 'The enrolment request is not valid.' },
  E_KEY_IN_USE: { status: 409, title: 'Another node already uses one of these keys.' },
  E_POOL_EXHAUSTED: { status: 503, title: "The fleet's IPv4 range has no free address; widen FLEET_CIDR." },

  E_FLEET_CIDR_NARROWED: {
    status: 503,
    title: 'FLEET_CIDR no longer holds all addresses that nodes have; widen it again.',
  },

  // sessions
  E_PROTOCOL_VERSION: { status: 400, title: 'This protocol version is not supported; update the agent.' },
  E_FRAME_MALFORMED: { status: 400, title: 'The frame is not JSON of a known type.' },
  E_FRAME_INVALID: { status: 400, title: 'The frame has missing, wrong or unknown fields.' },
  E_FRAME_TOO_LARGE: { status: 413, title: 'The frame is larger than the limit.' },
  E_FRAME_OUT_OF_ORDER: { status: 400, title: 'The first frame must be `register`, and only the first.' },
  E_FRAME_FOREIGN_ID: { status: 403, title: 'A frame must not name a node: the session is bound to one.' },
  E_FRAME_PRIVATE_KEY: { status: 400, title: 'A frame must not hold a private key; rotate that key now.' },
  E_FRAME_RATE: { status: 429, title: 'Too many frames; slow down.' },
  E_REGISTER_TIMEOUT: { status: 408, title: 'No `register` frame came in time.' },
  E_SESSION_SUPERSEDED: { status: 409, title: 'A newer session of this node took over.' },
  E_LEASE_EXPIRED: { status: 408, title: 'No heartbeat came for too long.' },

  // the relay
  E_RELAY_UNKNOWN: { status: 404, title: 'This gateway has no relay at that address.' },
  E_RELAY_PEER: { status: 403, title: 'None of these nodes may be talked to.' },
  E_RELAY_GRANT: { status: 401, title: 'The grant is not one of this relay for this node; ask for another.' },
  E_RELAY_GRANT_EXPIRED: { status: 401, title: 'The grant has ended; ask for another.' },
  E_RELAY_FULL: { status: 503, title: 'The relay has no room for another socket; try again later.' },

  // nodes, secrets
  E_NODE_NOT_FOUND: { status: 404, title: 'There is no node of that name.' },
  E_ADDRESS_OUTSIDE: { status: 400, title: "The address is not within the fleet's IPv4 range." },
  E_ADDRESS_TAKEN: { status: 409, title: 'Another node has that address.' },
  E_ADDRESS_RESTING: {
    status: 409,
    title: 'Another node had that address less than a day ago; take one that has rested.',
  },
  E_ROUTE_NETWORK: {
    status: 400,
    title: 'Only private networks are routed: RFC 1918, RFC 6598, and IPv6 within fc00::/7.',
  },
  E_ROUTE_NOT_OFFERED: {
    status: 409,
    title: "The node does not offer that network; name it in the node's setting `routes`.",
  },
  E_ROUTE_OVERLAP: { status: 409, title: 'That network overlaps another that is in use.' },
  E_TOO_MANY_ROUTES: { status: 400, title: 'A node has at most 16 routes.' },
  E_NODE_OFFLINE: { status: 409, title: 'That node has no session with the gateway now.' },
  E_NODE_NO_MESH: { status: 409, title: 'That node takes no part in the mesh.' },
  E_NODE_SILENT: { status: 504, title: 'That node has a session, but has not answered in time.' },
  E_PEER_NAME_TAKEN: { status: 409, title: 'A node or a peer without an agent has that name already.' },
  E_PEER_NOT_FOUND: { status: 404, title: 'There is no peer without an agent of that name.' },
  E_PEERS_FULL: { status: 409, title: 'The fleet has as many peers without an agent as it may.' },
  E_TOO_MANY_TAGS: { status: 400, title: 'A node has at most 32 tags.' },
  E_SECRET_NAME: {
    status: 400,
    title:
      'A secret name is 1 to 253 of a-z 0-9 . _ -, in folders by /; each part starts with a letter or digit and does not end in - or dot.',
  },
  E_SECRET_NOT_FOUND: { status: 404, title: 'There is no secret of that name.' },
  E_SECRET_VERSION_NOT_FOUND: { status: 404, title: 'The secret has no such version.' },
  E_SECRET_VERSION_ENDED: {
    status: 403,
    title: 'Nodes may read the newest version, and an older one only while its overlap lasts.',
  },
  E_SECRET_DELETED: { status: 410, title: 'That version is deleted; `claw secret undelete` brings it back.' },
  E_SECRET_DESTROYED: { status: 410, title: 'That version is destroyed; nothing brings it back.' },
  E_SECRET_CAS: { status: 409, title: 'The secret is not at the version that this write replaces.' },
  E_SECRET_CAS_REQUIRED: { status: 400, title: 'A write of this secret must name the version it replaces.' },
  E_SECRET_BUSY: { status: 409, title: 'Others keep changing this secret; try again.' },
  E_SECRET_CLASS: {
    status: 409,
    title: 'A secret is either sealed or managed for as long as it exists; remove it, or take another name.',
  },
  E_SECRET_DENIED: { status: 403, title: 'No rule allows this node to read that secret.' },
  E_SECRET_TAG: { status: 403, title: 'No rule allows this node, or any of its tags, to read that secret.' },
  E_SECRET_WORKLOAD: { status: 403, title: 'No rule allows this workload to read that secret.' },
  E_SECRET_DENY_RULE: { status: 403, title: 'A rule denies that secret to this reader.' },
  E_SECRET_POLICY_EXPIRED: { status: 403, title: 'What allowed this node to read that secret has expired.' },
  E_SECRET_SEALED_FORM: {
    status: 400,
    title: 'A sealed secret is an age file, encrypted to the nodes named beside it.',
  },
  E_SECRET_TOO_LARGE: { status: 413, title: 'A secret value is at most 1 MiB.' },
  E_ANSWER_TOO_LARGE: {
    status: 413,
    title: 'The answer is too large for a session; ask over a connection of its own.',
  },
  E_SECRETS_TOO_LARGE: {
    status: 413,
    title: 'These secrets are together more than 4 MiB; fetch them in parts.',
  },
  E_KEY_RETIRED: {
    status: 500,
    title: 'The stored secret is sealed under a master key that is no longer in the keyring.',
  },
  E_KEY_IN_REWRAP: {
    status: 409,
    title: 'A rewrap is under way already; `claw key status` shows how far it is.',
  },
  E_SECRET_CORRUPT: { status: 500, title: 'The stored secret cannot be decrypted.' },

  // the mesh
  E_MESH_POLICY_INVALID: { status: 400, title: 'The mesh policy has problems, each named with its place.' },
  E_MESH_POLICY_TEST: { status: 409, title: 'The mesh policy does not pass its own tests.' },
  E_MESH_POLICY_CAS: { status: 409, title: 'The mesh policy is not at the version that this one replaces.' },
  E_MESH_POLICY_NOT_FOUND: { status: 404, title: 'That version of the mesh policy is not kept.' },

  // the audit trail
  E_AUDIT_NOT_FOUND: { status: 404, title: 'The audit trail has no such entry, tile or size.' },
  E_AUDIT_ARCHIVED: {
    status: 410,
    title: 'These entries have left the gateway; look into the archive that `claw audit archive` made.',
  },
  E_AUDIT_CHECKPOINT: { status: 409, title: 'The audit trail never had that size and root.' },
} as const satisfies Record<string, ErrorKind>

export type ErrorCode = keyof typeof ERRORS

/** An expected refusal: a code for programs, and a detail that adds what this particular request got wrong. */
export interface Refusal {
  readonly code: ErrorCode
  readonly detail?: string
}

export const refusal = (code: ErrorCode, detail?: string): Refusal =>
  detail === undefined ? { code } : { code, detail }

/** RFC 9457 problem details, as the gateway sends them. `time` is the gateway's clock in Unix milliseconds. */
export interface Problem {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly code: ErrorCode
  readonly detail?: string
  readonly requestId: string
  readonly time: number
}
