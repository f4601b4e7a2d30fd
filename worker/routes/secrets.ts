/** /v1/secrets: writing and reading secrets, for people. Values come as raw bytes and leave sealed. */
import { Hono } from 'hono'
import { base64ToBase64Url, fromBase64Url } from '../../crypto/bytes.ts'
import { sealDelivery } from '../../crypto/delivery.ts'
import { SecretBytes } from '../../crypto/secret-bytes.ts'
import { isSafeX25519 } from '../../crypto/x25519.ts'
import { knownSecrets } from '../../durable-objects/secret-stores.ts'
import { type Refusal, refusal } from '../../protocol/errors.ts'
import { SecretName } from '../../protocol/ids.ts'
import { MAX_SECRET_BYTES } from '../../protocol/limits.ts'
import { orRefuse, RefusedError } from '../../protocol/refused-error.ts'
import { err, type Result } from '../../protocol/result.ts'
import { mayPersonRead } from '../../protocol/secret-policy.ts'
import {
  SecretPatchBody,
  SecretPutQuery,
  SecretReadBody,
  type SecretReadReply,
  SecretSealedBody,
  SecretVersionsBody,
} from '../../protocol/secrets.ts'
import { isAgeFile } from '../../secrets/age-file.ts'
import { recordRefusal } from '../../secrets/change.ts'
import { secretDetail } from '../../secrets/item.ts'
import { changeSettings, changeVersions, purgeSecret } from '../../secrets/lifecycle.ts'
import { readSecrets } from '../../secrets/read.ts'
import { findSecret, versionsOf } from '../../secrets/rows.ts'
import { reseal, writeManaged, writeSealed } from '../../secrets/write.ts'
import { readBytes, readJson } from '../body.ts'
import type { GatewayContext, GatewayEnv } from '../context.ts'
import { requireRole } from '../middleware/require-role.ts'
import { callFleet } from '../objects.ts'
import { announceChange } from '../secret-announce.ts'
import { policyOfQuery, resolvePolicy } from '../secret-policy.ts'
import { actorOf, requestStores } from '../secret-stores.ts'

export const secretRoutes = new Hono<GatewayEnv>()
  .put('/:name', requireRole('admin'), async (c) => {
    const name = await readName(c, 'secret.write')
    const query = SecretPutQuery.safeParse({ cas: c.req.query('cas'), overlap: c.req.query('overlap') })
    if (!query.success) throw new RefusedError('E_QUERY_INVALID', 'cas is a version, overlap milliseconds')
    const policy = await policyOfQuery(c)
    const body = await readValue(c)
    if (!body.ok) return refuse(c, name, 'secret.write', body.error)
    using value = SecretBytes.take(body.value)
    orRefuse(await writeManaged(requestStores(c), actorOf(c), name, value, { ...query.data, policy }))
    return announced(c, name)
  })
  .post('/:name/sealed', requireRole('admin'), async (c) => {
    const name = await readName(c, 'secret.write')
    const body = await readJson(c, SecretSealedBody, MAX_SECRET_BYTES * 2)
    const ciphertext = fromBase64Url(base64ToBase64Url(body.ciphertext))
    if (ciphertext === undefined || !isAgeFile(ciphertext))
      return refuse(c, name, 'secret.write', refusal('E_SECRET_SEALED_FORM'))
    const stores = requestStores(c)
    const { recipients, reseal: version, cas, overlap } = body
    if (version === undefined) {
      const policy = body.policy && (await resolvePolicy(c, body.policy))
      const options = { policy, cas, overlap }
      orRefuse(await writeSealed(stores, actorOf(c), name, ciphertext, recipients, options))
    } else orRefuse(await reseal(stores, actorOf(c), name, version, ciphertext, recipients))
    return announced(c, name)
  })
  .patch('/:name', requireRole('admin'), async (c) => {
    const name = await readName(c, 'secret.metadata')
    const { policy, rule, ...settings } = await readJson(c, SecretPatchBody)
    const resolved = policy && (await resolvePolicy(c, policy))
    const [added] = rule === undefined ? [] : (await resolvePolicy(c, { rules: [rule], expires: null })).rules
    orRefuse(
      await changeSettings(requestStores(c), actorOf(c), name, {
        ...settings,
        policy: resolved,
        rule: added,
      }),
    )
    return announced(c, name)
  })
  .post('/:name/read', requireRole('operator'), async (c) => {
    const name = await readName(c, 'secret.read')
    const { sealTo, request, version: wanted, purpose } = await readJson(c, SecretReadBody)
    if (!(await isSafeX25519(sealTo))) throw new RefusedError('E_BODY_INVALID', 'wrong or unknown: sealTo')
    const stores = requestStores(c)
    const { role } = c.var
    const { id: fleet } = await callFleet(c, (stub) => stub.identity())
    const [item] = orRefuse(
      await readSecrets(
        stores,
        knownSecrets(c.env),
        actorOf(c),
        {
          wanted: [{ name, version: wanted }],
          judge: ({ secret }) => mayPersonRead(secret.policy, role, stores.now()),
          purpose,
        },
        async ({ secret, version: { version } }, value) => {
          const sealed = await sealDelivery(sealTo, value, { fleet, name, version, request })
          return { name, version, class: secret.class, sealed }
        },
      ),
    )
    if (item === undefined) throw new Error('a secret that was read is not there')
    const reply: SecretReadReply = { fleet, item }
    return c.json(reply)
  })
  .post('/:name/delete', requireRole('admin'), (c) => changeOf(c, 'delete'))
  .post('/:name/undelete', requireRole('admin'), (c) => changeOf(c, 'undelete'))
  .post('/:name/destroy', requireRole('admin'), (c) => changeOf(c, 'destroy'))
  .delete('/:name', requireRole('admin'), async (c) => {
    const name = await readName(c, 'secret.purge')
    orRefuse(await purgeSecret(requestStores(c), actorOf(c), name))
    return c.body(null, 204)
  })

async function changeOf(c: GatewayContext, change: 'delete' | 'undelete' | 'destroy'): Promise<Response> {
  const name = await readName(c, `secret.${change}`)
  const { versions } = await readJson(c, SecretVersionsBody)
  orRefuse(await changeVersions(requestStores(c), actorOf(c), name, change, versions))
  return announced(c, name)
}

/** The secret as it is now, after its readers were told. */
async function announced(c: GatewayContext, name: SecretName): Promise<Response> {
  const found = await findSecret(c.env.DB, name)
  if (found === undefined) throw new RefusedError('E_SECRET_NOT_FOUND')
  c.executionCtx.waitUntil(announceChange(c.env, c.var.config.shards, found.secret))
  return c.json(secretDetail(found, await versionsOf(c.env.DB, name), Date.now()))
}

/** The trail also holds names that were tried and are none, cut to what is worth keeping. */
export async function readName(c: GatewayContext, action: string): Promise<SecretName> {
  const text = c.req.param('name') ?? ''
  const name = SecretName.safeParse(text)
  if (name.success) return name.data
  return refuse(c, JSON.stringify(text.slice(0, 64)), action, refusal('E_SECRET_NAME'))
}

async function refuse(c: GatewayContext, name: string, action: string, refused: Refusal): Promise<never> {
  await recordRefusal(requestStores(c), actorOf(c), action, `secret:${name}`, refused)
  throw new RefusedError(refused.code, refused.detail)
}

async function readValue(c: GatewayContext): Promise<Result<Uint8Array, Refusal>> {
  try {
    return { ok: true, value: await readBytes(c, MAX_SECRET_BYTES) }
  } catch (error) {
    if (error instanceof RefusedError && error.refusal.code === 'E_BODY_TOO_LARGE')
      return err(refusal('E_SECRET_TOO_LARGE'))
    throw error
  }
}
