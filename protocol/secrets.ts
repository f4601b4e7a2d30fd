/** Bodies of the secrets API: /v1/secrets for people, /v1/node/secrets for nodes. Times are RFC 3339 in UTC. */
import * as z from 'zod'
import { FleetId, IdentityKey, NodeId, NodeName, SealingKey, SecretName } from './ids.ts'
import {
  MAX_CUSTOM_METADATA,
  MAX_CUSTOM_METADATA_KEY,
  MAX_CUSTOM_METADATA_VALUE,
  MAX_RECIPIENTS,
  MAX_SECRET_BYTES,
  MAX_SECRET_VERSIONS,
  MAX_SECRETS_PER_FETCH,
  MAX_TIMER_MS,
} from './limits.ts'
import { PolicyRule, SecretPolicy, WorkloadName } from './secret-policy.ts'

const Time = z.iso.datetime()
const Version = z.int().positive()
const Versions = z.array(Version).min(1).max(MAX_SECRET_VERSIONS)

/**
 * `managed`: the gateway seals it at rest under the master keyring and can open it. `sealed`: the writer's own machine has encrypted it
 * (age format) to the nodes and to the owner; the gateway forwards it and can never read it.
 */
export const SecretClass = z.enum(['managed', 'sealed'])
export type SecretClass = z.infer<typeof SecretClass>

/** What a secret is beside its values. Editing it makes no new version of the value. */
export const SecretSettings = z.strictObject({
  /** Versions kept; an older one is destroyed by the write that passes the number. */
  maxVersions: z.int().min(1).max(MAX_SECRET_VERSIONS),
  /** Life of each version written from now on; null: no end. */
  deleteAfterMs: z.int().min(1_000).max(MAX_TIMER_MS).nullable(),
  /** How long a value may be in use before it counts as due; null: never. */
  rotateEveryMs: z.int().min(60_000).max(MAX_TIMER_MS).nullable(),
  /** Whether a write must name the version it replaces. */
  casRequired: z.boolean(),
  custom: z
    .record(z.string().min(1).max(MAX_CUSTOM_METADATA_KEY), z.string().max(MAX_CUSTOM_METADATA_VALUE))
    .refine((custom) => Object.keys(custom).length <= MAX_CUSTOM_METADATA, 'too many keys'),
})
export type SecretSettings = z.infer<typeof SecretSettings>

/** PATCH /v1/secrets/NAME: what is given replaces what there is. */
export const SecretPatchBody = z
  .strictObject({
    ...SecretSettings.partial().shape,
    policy: SecretPolicy.optional(),
    /**
     * A rule that joins the policy there is, in place of one that has the same effect on the same readers. Whoever would send back the policy
     * they have seen, with it, could undo somebody else's change, and would name by name what is kept by id.
     */
    rule: PolicyRule.optional(),
  })
  .refine(({ policy, rule }) => policy === undefined || rule === undefined, 'either a policy or a rule')
export type SecretPatchBody = z.infer<typeof SecretPatchBody>

export const VersionState = z.enum(['live', 'deleted', 'destroyed'])
export const SecretVersionItem = z.object({
  version: Version,
  state: VersionState,
  createdAt: Time,
  /** When it counts as deleted by itself. */
  expiresAt: Time.nullable(),
  /** For a version that was rotated away with overlap: until when nodes may still ask for it by number. */
  readableUntil: Time.nullable(),
  /** Index of the audit entry that wrote the present ciphertext, and the SHA-256 (hex) of it that this entry names. */
  entry: z.int().nonnegative().nullable(),
  sha256: z.string().nullable(),
  /** Master key it is sealed under; null for the sealed class. */
  key: z.int().positive().nullable(),
  /** Nodes it is encrypted to, for the sealed class. */
  recipients: z.array(NodeId),
})
export type SecretVersionItem = z.infer<typeof SecretVersionItem>

export const SecretItem = z.object({
  name: SecretName,
  class: SecretClass,
  /** Newest version, whatever its state. */
  version: Version,
  state: VersionState,
  policy: SecretPolicy,
  settings: SecretSettings,
  createdAt: Time,
  updatedAt: Time,
  /** When the newest value is due for rotation, if it ever is. */
  rotationDue: Time.nullable(),
})
export type SecretItem = z.infer<typeof SecretItem>
/** GET /v1/secrets?prefix=&after=&limit=&due=true */
export const SecretList = z.object({ items: z.array(SecretItem), next: z.string().optional() })
/** GET /v1/secrets/NAME: also the answer to every write. */
export const SecretDetail = SecretItem.extend({ versions: z.array(SecretVersionItem) })
export type SecretDetail = z.infer<typeof SecretDetail>

/** GET /v1/secret-versions?after=: every version there is, for the check of the stores against the audit trail. `after` is `NAME:VERSION`. */
export const SecretVersionList = z.object({
  items: z.array(SecretVersionItem.extend({ name: SecretName })),
  next: z.string().optional(),
})

/**
 * PUT /v1/secrets/NAME: the body is the value, byte for byte; the query says the rest.
 * `cas` is the version it replaces (0: there is none); `overlap` how many milliseconds the version before stays readable by number;
 * `allow-tag` and `allow-node` replace the policy by one rule that allows those.
 */
export const SecretPutQuery = z.strictObject({
  cas: z.coerce.number().int().nonnegative().optional(),
  overlap: z.coerce.number().int().min(0).max(MAX_TIMER_MS).optional(),
})

/** POST /v1/secrets/NAME/sealed: a version of the sealed class. With `reseal` it replaces the ciphertext of that version: same value, other readers. */
export const SecretSealedBody = z.strictObject({
  /** An age file (age-encryption.org/v1), base64. */
  ciphertext: z.base64().max(Math.ceil((MAX_SECRET_BYTES * 4) / 3) + 4),
  recipients: z.array(NodeId).max(MAX_RECIPIENTS),
  policy: SecretPolicy.optional(),
  cas: z.int().nonnegative().optional(),
  overlap: z.int().min(0).max(MAX_TIMER_MS).optional(),
  reseal: Version.optional(),
})
export type SecretSealedBody = z.input<typeof SecretSealedBody>

/** POST /v1/secrets/NAME/{delete,undelete,destroy}. Delete without versions takes the newest. */
export const SecretVersionsBody = z.strictObject({ versions: Versions.optional() })

/** POST /v1/secrets/NAME/explain: who may read, and why. */
export const SecretExplainBody = z.strictObject({ node: NodeName, workload: WorkloadName.optional() })
export const SecretExplainReply = z.object({
  allowed: z.boolean(),
  /** The code the node would get. */
  code: z.string().optional(),
  reason: z.string(),
  /** Index into the policy's rules of the one that decided. */
  rule: z.int().nonnegative().optional(),
  node: z.object({ id: NodeId, name: NodeName, tags: z.array(z.string()) }),
})
export type SecretExplainReply = z.infer<typeof SecretExplainReply>

/**
 * GET /v1/secrets/NAME/recipients[?allow-tag=&allow-node=]: the nodes that may read this secret under its policy (or the one the query
 * describes), with the keys to seal to and the audit entry that holds each key: whoever seals checks it there first.
 */
export const SecretRecipients = z.object({
  items: z.array(
    z.object({
      id: NodeId,
      name: NodeName,
      identity: IdentityKey,
      sealing: SealingKey,
      entry: z.int().nonnegative().nullable(),
    }),
  ),
})
export type SecretRecipients = z.infer<typeof SecretRecipients>

/** A value sealed by HPKE to the asker: base64url of `enc || ciphertext` (see crypto/delivery.ts). Of the sealed class it is the age file. */
const Delivered = z.object({
  name: SecretName,
  version: Version,
  class: SecretClass,
  sealed: z.string(),
})

/** POST /v1/node/secrets, signed by the node: all of them, or an error. Without a version: the newest. */
export const NodeSecretsBody = z.strictObject({
  secrets: z
    .array(z.strictObject({ name: SecretName, version: Version.optional() }))
    .min(1)
    .max(MAX_SECRETS_PER_FETCH)
    .refine((secrets) => new Set(secrets.map(({ name }) => name)).size === secrets.length, 'each name once'),
  /** What the job calls itself. The node's word: it narrows what one job of a node gets, it does not widen what the node may read. */
  workload: WorkloadName.optional(),
})
export type NodeSecretsBody = z.infer<typeof NodeSecretsBody>
export const NodeSecretsReply = z.object({ fleet: FleetId, items: z.array(Delivered) })
export type NodeSecretsReply = z.infer<typeof NodeSecretsReply>

/** POST /v1/secrets/NAME/read: a person's read, sealed to a key made for this one request. */
export const SecretReadBody = z.strictObject({
  sealTo: SealingKey,
  request: z.string().regex(/^[A-Za-z0-9_-]{22}$/),
  version: Version.optional(),
  /** Goes into the audit trail, for instance `export`. */
  purpose: z.string().min(1).max(64).optional(),
})
export const SecretReadReply = z.object({ fleet: FleetId, item: Delivered })
export type SecretReadReply = z.infer<typeof SecretReadReply>

/** GET /v1/keys: the master keyring, without a key. */
export const KeyringReply = z.object({
  active: Version,
  /** Versions in the keyring. */
  versions: z.array(Version),
  /** Stored secret versions under each key. */
  usage: z.record(z.string(), z.int().nonnegative()),
  rewrap: z.object({
    state: z.enum(['idle', 'running', 'failed']),
    /** Stored versions rewrapped since it was started, and those still under another key than the active one. */
    done: z.int().nonnegative(),
    left: z.int().nonnegative(),
    startedAt: Time.nullable(),
    finishedAt: Time.nullable(),
    problem: z.string().optional(),
  }),
})
export type KeyringReply = z.infer<typeof KeyringReply>
