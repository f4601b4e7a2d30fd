/**
 * Every limit of the protocol in one place, with its reason. Sizes are bytes, times milliseconds, unless the name says otherwise.
 */

/** Largest session frame. The platform allows 32 MiB; a mesh change is some 230 bytes, so 64 KiB is generous and keeps a hostile node cheap. */
export const MAX_FRAME_BYTES = 64 * 1024
/** Largest ordinary request body; only a secret value may be larger. */
export const MAX_BODY_BYTES = 64 * 1024
/** Largest secret value. A D1 row holds 2 MB, and the frame adds 28 bytes. */
export const MAX_SECRET_BYTES = 1024 * 1024
/** Most secrets fetched in one request: bounded by the reply a 128 MB isolate may hold. */
export const MAX_SECRETS_PER_FETCH = 64

/** A node that has not registered by then is an attacker or broken; its socket is closed. */
export const REGISTER_TIMEOUT_MS = 10_000
/** Frames that break the rules before the session is closed. */
export const MAX_VIOLATIONS = 3
/** Heartbeat interval the gateway asks for. */
export const HEARTBEAT_INTERVAL_MS = 15_000
/** Two missed heartbeats and a little: worth showing, not worth acting on. */
export const SUSPECT_AFTER_MS = 30_000
/** Four missed heartbeats: the lease has ended. */
export const OFFLINE_AFTER_MS = 60_000
/** Unanswered pings after which the agent drops the link itself. */
export const MAX_MISSED_PONGS = 3
/** Telemetry goes out on material change, but never less often than this. */
export const TELEMETRY_INTERVAL_MS = 60_000
/** The socket attachment holds 16 384 bytes, telemetry is one field of it. */
export const MAX_TELEMETRY_BYTES = 8 * 1024

/** Life of a request proof: a stolen one is useless a minute later (RFC 9449, section 11.1). */
export const PROOF_LIFETIME_MS = 60_000
/** Clock difference tolerated beside that life; the agent corrects a larger one from the gateway's answer. */
export const PROOF_CLOCK_TOLERANCE_MS = 30_000
/** Clock difference the agent corrects by itself. A larger one is a machine to be looked at. */
export const MAX_CLOCK_OFFSET_MS = 10 * 60_000

/** First reconnect after a healthy session waits U(0, this): every deploy closes every socket at once. */
export const RECONNECT_FIRST_MS = 15_000
/** Full jitter grows from here … */
export const RECONNECT_BASE_MS = 2_000
/** … to here. */
export const RECONNECT_CAP_MS = 60_000
/** A session that lived this long resets the backoff. */
export const RECONNECT_STABLE_MS = 120_000

/** Window in which further mesh changes are gathered after the first went out at once. */
export const MESH_WINDOW_MS = 250
/** Mesh log entries kept; a node further behind gets a snapshot. A row each, some 250 bytes. */
export const MESH_LOG_KEEP = 20_000
/** Mesh entries in one frame: keeps a frame of 230-byte entries under MAX_FRAME_BYTES. */
export const MESH_ENTRIES_PER_FRAME = 200

/** Networks that one node offers: a LAN or two, and those of its containers. Each is a route on every peer. */
export const MAX_NODE_ROUTES = 16
/** Rules that one node has to hold to, and port ranges of one: a set of nftables each, replaced as a whole. */
export const MAX_MESH_RULES = 512
export const MAX_RULE_PORTS = 64
/** A mesh policy: rules are gone through for each class of nodes, and destinations become rules of a receiver, at most one each. */
export const MAX_MESH_POLICY_RULES = 256
export const MAX_MESH_POLICY_GROUPS = 256
export const MAX_MESH_POLICY_SELECTORS = 256
export const MAX_MESH_POLICY_TESTS = 256
/** Classes that a policy may make of the fleet when it is set: what is encoded is encoded once for each. */
export const MAX_MESH_CLASSES = 1024
/** The rules of one receiver, so that they fit into a frame beside some peers. */
export const MAX_MESH_RULES_BYTES = 32 * 1024
/** Versions of the policy that are kept: to be put back, and so that a node that was away for some of them gets only what is different. */
export const MESH_POLICY_KEEP = 32
/** How long a node that is cut off from the gateway goes on talking to the peers it was last told of: a holiday, not a career. */
export const MESH_LEASE_MS = 7 * 24 * 60 * 60_000
/** Shortest lease, as long as a backoff between two sessions, and longest. */
export const MIN_MESH_LEASE_MS = 60_000
export const MAX_MESH_LEASE_MS = 365 * 24 * 60 * 60_000

/** A node says that it has applied the map at most this often: a burst of changes is one acknowledgement. */
export const MESH_ACK_INTERVAL_MS = 1_000
/** Pairs named in telemetry, some 100 bytes each of the 8 KiB it may have. */
export const MAX_WORST_PAIRS = 16
/** Pairs in one answer to `mesh_report`: with the longest hint some 700 bytes each, and a third more once sealed, they have to fit a frame. */
export const MESH_REPORT_PAIRS = 64
/** A sealed answer of a node about its mesh: what MAX_FRAME_BYTES leaves beside the envelope. */
export const MAX_MESH_ANSWER_BYTES = 64_000
/** How long the gateway waits for it: three echoes of two seconds, on a machine that is busy. */
export const MESH_ANSWER_TIMEOUT_MS = 10_000
/** Questions to one node at a time: each keeps a command running on it. */
export const MAX_MESH_QUESTIONS = 4
/** Devices without an agent: each is an address and a peer on every node that it may talk to. */
export const MAX_EXTERNAL_PEERS = 10_000

/** Sealed signal, after base64url: the largest holds an ML-KEM-768 key of 1184 bytes, in base64url itself, and comes to some 2250. */
export const MAX_SIGNAL_BYTES = 2560
/** Signals in one frame, so that a node joining a large fleet needs few frames. So many of the largest would not fit a frame, whose own limit holds too. */
export const MAX_SIGNALS_PER_FRAME = 48
/** Frames a session may send in one burst, and how many it regains a second. */
export const FRAME_BURST = 120
export const FRAMES_PER_SECOND = 20

/** A proof as text: its claims are bounded, the longest path and origin come to some 4 KB. */
export const MAX_PROOF_BYTES = 8 * 1024
/** Values in one answer over a session, whose other frames wait behind it; whoever wants more asks over a connection of their own. */
export const MAX_ANSWER_VALUE_BYTES = 256 * 1024
/** Requests of one shard that are looked up, or recorded, by one call: some 100 KB, and none waits long for those before it. */
export const MAX_GROUPED_CALLS = 256

/** Maps a session may ask for anew, in a burst and a second: a gap is rare, and each answer may be megabytes. */
export const RESYNC_BURST = 3
export const RESYNCS_PER_SECOND = 1 / 30
/** Sockets of one node at a time: the one in use, the one it replaces, and room for an unlucky reconnect. The platform holds 32 768 an object. */
export const MAX_SOCKETS_PER_NODE = 8
/** Bytes of all secrets in one answer: they are in memory together, several times over, in an isolate of 128 MB. */
export const MAX_FETCH_BYTES = 4 * 1024 * 1024

/** Requests of one credential: an agent makes a few a minute, a job at its start a few dozen, a script of an administrator hundreds. */
export const REQUESTS_PER_CREDENTIAL = { burst: 1000, perSecond: 200 } as const
/** Refused credentials from one address prefix: an office that holds a stale token is slowed, a guesser is stopped. */
export const REFUSALS_PER_PREFIX = { burst: 60, perSecond: 1 } as const
/** Keys of those limits kept in memory, some 100 bytes each. */
export const MAX_RATE_KEYS = 10_000

/** A released IPv4 address rests this long: peers that have not heard yet must not reach a stranger. */
export const ADDRESS_QUARANTINE_MS = 24 * 60 * 60_000

/** Longest life and most uses of a join token: it is a bearer string until it is used. */
export const MAX_TOKEN_TTL_MS = 30 * 24 * 60 * 60_000
export const MAX_TOKEN_USES = 100_000
export const MAX_TAGS = 32
/** Longest life of an API key that is given one; a key that need not end is made without. */
export const MAX_API_KEY_TTL_MS = 10 * 365 * 24 * 60 * 60_000

/** Versions of a secret that may be kept, and how many are unless its owner says otherwise (Vault's KV keeps 10 as well). */
export const MAX_SECRET_VERSIONS = 100
export const DEFAULT_SECRET_VERSIONS = 10
/** Owner's notes on a secret, as Vault bounds them: they are read with every listing. */
export const MAX_CUSTOM_METADATA = 64
export const MAX_CUSTOM_METADATA_KEY = 128
export const MAX_CUSTOM_METADATA_VALUE = 512
/** A policy is read, and judged, with every read of its secret. */
export const MAX_POLICY_RULES = 64
export const MAX_RULE_NODES = 1000
/** A policy in the words of the audit trail, where it has to go into one entry: a thousand nodes with long names. */
export const MAX_POLICY_TEXT = 48 * 1024
/** Nodes one sealed secret is encrypted to: some 120 bytes of header each. */
export const MAX_RECIPIENTS = 1000
/** Longest time that a secret's settings may name: ten years is for ever, and dates stay within four digits. */
export const MAX_TIMER_MS = 10 * 365 * 24 * 60 * 60_000
/** A change of a secret that has neither ended nor failed by then lost its worker; the sweep decides what became of it. */
export const MUTATION_TIMEOUT_MS = 60_000
/** Rows of secrets that an isolate remembers: with a small ciphertext up to 5 KB each, of the 128 MB it has. */
export const MAX_KNOWN_SECRETS = 4_000
/** What those rows may take together, since a policy may be ten times as large: a quarter of the isolate. */
export const MAX_KNOWN_BYTES = 32 * 1024 * 1024
/** Stored secrets moved to another master key at one alarm, which has minutes: some 5 ms each. */
export const REWRAP_BATCH = 100
/** A move that was cut short goes on after this long. */
export const REWRAP_RETRY_MS = 10_000
/** An agent looks whether the audit trail goes on as it was: within this time after a session begins, so that a herd does not ask at once … */
export const WITNESS_SPREAD_MS = 60_000
/** … and then about as often as this. */
export const WITNESS_INTERVAL_MS = 60 * 60_000
/** Largest entry of the audit trail: a bundle of the tile format frames it with two bytes. */
export const MAX_AUDIT_ENTRY_BYTES = 65_535
/** Entries that one page of a filtered listing looks at: some 20 ms of the one object that everything is recorded by. */
export const AUDIT_SCAN = 5_000
/** Reading the trail's content is recorded once in this time for each reader; otherwise following it would write what is followed. */
export const AUDIT_READ_WINDOW_MS = 10 * 60_000
/** How far clocks may have gone back between two entries: a listing by time looks that much further. */
export const AUDIT_CLOCK_SLACK_MS = 24 * 60 * 60_000
/** Archived entries that one alarm removes: each is a row, and appends wait meanwhile. */
export const AUDIT_REMOVE_BATCH = 5_000
/** Roots of complete subtrees that the audit object keeps for the next proof, some 200 bytes each. */
export const MAX_KNOWN_SUBTREES = 8_192
/** Changed targets that the audit object remembers, some 300 bytes each. */
export const MAX_CHANGE_STAMPS = 20_000
/** Writes of one secret that meet each other, and reads that meet writes, are tried this often before the last one is told so. */
export const MUTATION_TRIES = 5

/** For so long the gateway seals to a node under one agreement: what leaks of its memory opens no more of the past than this. */
export const DELIVERY_CONTEXT_MS = 10 * 60_000
/** Nodes with whom it has one, some 400 bytes each. */
export const MAX_DELIVERY_CONTEXTS = 4096

/** Items in one page of a listing. */
export const MAX_PAGE = 1000
/** Secrets, or versions of them, in one page: each has up to 40 KB of notes, a policy, a thousand recipients, and an isolate 128 MB. */
export const MAX_SECRET_PAGE = 200

/** Objects that the relay of a gateway is spread over, by pair of nodes: one thread forwards some 200 Mbit/s. A node has a socket for each that it has pairs in. */
export const RELAY_SHARDS = 8
/** Peers that one grant of the relay names, 16 bytes each: the grant travels in a header, which Node bounds at 16 KiB. */
export const MAX_RELAY_PEERS = 256
/** Life of a grant: how long a relay that cannot be told goes on serving a node that was removed. */
export const RELAY_GRANT_MS = 10 * 60_000
/** Longest grant as text: 256 peers are 5.5 KB of base64url, twice. */
export const MAX_RELAY_GRANT_BYTES = 12 * 1024
/** Largest relayed packet: an Ethernet jumbo frame. */
export const MAX_RELAY_PACKET_BYTES = 9_216
/** Packets are gathered up to this size: a message is what a relay is paid by, and in 16 KiB it forwards twice what it does packet by packet. */
export const RELAY_BATCH_BYTES = 16 * 1024
/** Largest binary message: a batch and the packet that filled it. */
export const MAX_RELAY_MESSAGE_BYTES = 32 * 1024
/** What a relay has sent to one node and not seen arrive: the runtime's own buffer, which a Worker cannot see, is thereby bounded. */
export const RELAY_WINDOW_BYTES = 512 * 1024
/** After so much the relay asks the node to say that it got as far. */
export const RELAY_MARK_BYTES = 64 * 1024
/** What waits for one node beyond that window; the oldest goes first, because old packets are only late. */
export const RELAY_QUEUE_BYTES = 128 * 1024
/** Window and queue of all nodes of one relay object together: a quarter of the isolate's 128 MB. */
export const MAX_RELAY_BUFFERED_BYTES = 32 * 1024 * 1024
/** A node that has not answered a mark by then does not read any more; its socket is closed and its buffer is free. */
export const RELAY_STALL_MS = 30_000
/** Sockets of one relay object. The platform holds 32 768; each has up to 16 KiB of attachment. */
export const MAX_RELAY_SOCKETS = 2_000
/** What one node may send through one relay object in a second: the design's 150 Mbit/s and a third more. */
export const RELAY_RATE = { bytes: 25_000_000, packets: 40_000 } as const
/** How much of that it may send at once, in ms of it: WireGuard sends what a TCP window holds in one go. */
export const RELAY_BURST_MS = 250
/** Control messages of a relay's socket, in a burst and a second: all peers of a grant opened at once, and a mark for each 64 KiB. */
export const RELAY_CONTROL = { burst: 600, perSecond: 500 } as const
