/** `claw audit verify|checkpoint|export|archive`: the trail as something that can be proven, kept and taken away. */
import { toBase64, toBase64Url } from '../../crypto/bytes.ts'
import { formatVerifierKey, parseVerifierKey } from '../../crypto/signed-note.ts'
import { noteKeys } from '../../host/audit-checkpoint.ts'
import { defineCommand } from '../../host/command-line.ts'
import { confirm, yesOption } from '../../host/confirm.ts'
import { outputOption, usageError } from '../../host/options.ts'
import { printJson } from '../../host/output.ts'
import { plainJson } from '../../host/plain-text.ts'
import { EXIT, UserError } from '../../host/user-error.ts'
import { decodeEntry, itemOf, passesFilter } from '../../protocol/audit-entry.ts'
import { GatewayKey } from '../../protocol/ids.ts'
import type { AdminClient } from '../admin-client.ts'
import { archiveTrail } from '../audit/archive-trail.ts'
import { filterOptions, readFilter } from '../audit/filter-options.ts'
import { nodeKeysCheck } from '../audit/node-keys-check.ts'
import { type AuditTrail, auditTrail } from '../audit/trail.ts'
import { type TrailVerdict, verifyTrail } from '../audit/verify-trail.ts'
import { connectionOptions, withGateway } from '../connection.ts'
import { secretVersionsCheck } from '../secrets/secret-versions-check.ts'

const archiveOption = {
  type: 'string',
  value: 'DIR',
  help: 'where `claw audit archive` has put entries that left the gateway',
} as const

export const verify = defineCommand({
  name: 'verify',
  summary:
    'Verify the whole trail: signature, tree, older checkpoints, and that the stores hold what it says',
  details: `Downloads every entry and every hash, and believes none of them. The checkpoint must continue the one that claw has remembered,
and any that is given with --from. Ends with 1 and names the first entry or tile that is wrong.`,
  options: {
    from: {
      type: 'string',
      multiple: true,
      value: 'FILE',
      help: 'an older checkpoint, such as audit-checkpoint of a node',
    },
    archive: archiveOption,
    'without-archived': { type: 'boolean', help: 'where entries are archived, verify their hashes alone' },
    key: { type: 'string', value: 'KEY', help: 'the verifier key, as the owner of the gateway says it' },
    'new-log': { type: 'boolean', help: 'the fleet was founded anew: believe its new log' },
    output: outputOption,
    ...connectionOptions,
  },
  async run({ options }) {
    const verdict = await withGateway(options, async (client) => {
      const trail = auditTrail(client)
      if (options['new-log'] === true) trail.memory.forgetOrigin()
      if (options.key !== undefined) trust(trail, options.key)
      return verifyTrail(trail, {
        from: options.from ?? [],
        archive: options.archive,
        withoutArchived: options['without-archived'] === true,
        checks: crossChecks(client),
      })
    })
    if (options.output === 'json') printJson(verdictForPrograms(verdict))
    const wrong = verdict.checks.flatMap(({ problems }) => problems)
    if (wrong.length > 0) throw disagreement(wrong)
    if (options.output !== 'json') process.stdout.write(`${verdictLine(verdict)}\n`)
  },
})

export const checkpoint = defineCommand({
  name: 'checkpoint',
  summary: 'Print the newest checkpoint, once it is verified; kept elsewhere it proves what comes later',
  options: connectionOptions,
  async run({ options }) {
    const { note } = await withGateway(options, (client) => auditTrail(client).log.checkpoint())
    process.stdout.write(note)
  },
})

export const exportCommand = defineCommand({
  name: 'export',
  summary: 'Print entries as JSON, one a line, oldest first, each with its hash verified',
  details:
    'What the whole of them amounts to is verified at the end: what was printed is good if the command ends with 0.',
  options: { archive: archiveOption, ...filterOptions, ...connectionOptions },
  async run({ options }) {
    const { since, until, ...filter } = readFilter(options)
    const times = { ...(since && { since: Date.parse(since) }), ...(until && { until: Date.parse(until) }) }
    await withGateway(options, (client) =>
      verifyTrail(auditTrail(client), {
        from: [],
        archive: options.archive,
        withoutArchived: false,
        checks: [],
        onEntries: (first, entries) => {
          for (const [offset, bytes] of entries.entries()) {
            const entry = decodeEntry(bytes)
            if (entry !== undefined && passesFilter(entry, { ...filter, ...times }))
              process.stdout.write(`${plainJson(itemOf(first + offset, entry))}\n`)
          }
        },
      }),
    )
  },
})

export const archive = defineCommand({
  name: 'archive',
  summary: 'Copy the whole trail into a directory, verify the copy, and let the gateway drop what it holds',
  details: `The directory has the layout of C2SP tlog-tiles, with the checkpoint beside it; done again, it takes what has come since. With --prune the
gateway gives up the entries of full bundles, not their hashes: every proof still holds. That is in the trail, too.`,
  positionals: ['dir'],
  options: {
    prune: { type: 'boolean', help: 'then remove from the gateway what the directory holds' },
    yes: yesOption,
    output: outputOption,
    ...connectionOptions,
  },
  async run({ options, positionals }) {
    await withGateway(options, async (client) => {
      const { checkpoint, added } = await archiveTrail(auditTrail(client), positionals.dir)
      const { size, root } = checkpoint
      const copied = { directory: positionals.dir, size, root: toBase64(root), added }
      process.stderr.write(`${size} entries are in ${positionals.dir}, verified; ${added} files are new\n`)
      if (options.prune !== true) return options.output === 'json' ? printJson(copied) : undefined
      await confirm({
        consequence: `this removes from the gateway the text of the entries that ${positionals.dir} has; it will be the only copy`,
        answer: 'prune',
        refused: 'nothing was removed',
        yes: options.yes === true,
      })
      const { below } = await client.archiveAudit({ size, root: toBase64(root) })
      process.stderr.write(
        `the gateway keeps the hashes of entries below ${below}, and no longer their text\n`,
      )
      if (options.output === 'json') printJson({ ...copied, below })
    })
  },
})

const crossChecks = (client: AdminClient) => [
  nodeKeysCheck(() => client.nodes()),
  secretVersionsCheck(client),
]

/** From here on only what this key has signed is believed. */
function trust(trail: AuditTrail, text: string): void {
  const parsed = parseVerifierKey(text)
  const key = parsed && GatewayKey.safeParse(toBase64Url(parsed.key)).data
  if (parsed === undefined || key === undefined)
    throw usageError('--key takes a verifier key: NAME+ID+KEY, as `claw audit verify -o json` prints it')
  trail.memory.trust(parsed.name, key)
}

const verifierKeys = ({ checkpoint: { origin, keys } }: TrailVerdict): string[] =>
  noteKeys(origin, keys).map(formatVerifierKey)

function verdictLine(verdict: TrailVerdict): string {
  const { checkpoint, continued, unread, checks } = verdict
  const parts = [
    `${checkpoint.size} entries`,
    `root ${toBase64(checkpoint.root)}`,
    continued === 0 ? 'the first checkpoint seen' : `continues ${continued} known`,
    ...(unread === 0 ? [] : [`${unread} of them archived and not read`]),
    ...checks.map(({ name }) => `${name} agree`),
  ]
  return `verified: ${parts.join(', ')}`
}

const verdictForPrograms = (verdict: TrailVerdict) => ({
  apiVersion: 'claw/v1',
  kind: 'AuditVerdict',
  origin: verdict.checkpoint.origin,
  size: verdict.checkpoint.size,
  root: toBase64(verdict.checkpoint.root),
  verifierKeys: verifierKeys(verdict),
  continued: verdict.continued,
  unread: verdict.unread,
  checks: verdict.checks,
})

const SHOWN = 20

function disagreement(problems: readonly string[]): UserError {
  const shown = problems.slice(0, SHOWN).map((problem) => `\n    ${problem}`)
  const more = problems.length > SHOWN ? `\n    and ${problems.length - SHOWN} more` : ''
  return new UserError({
    code: 'E_AUDIT_STORES',
    message: 'the audit trail is whole, and the stores do not agree with it',
    why: `${shown.join('')}${more}`,
    fix: 'find out who changed the stores behind the trail; do not seal anything to a node named here',
    exitCode: EXIT.failure,
  })
}
