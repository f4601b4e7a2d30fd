/** `claw key`: the master keys, under which the gateway keeps managed secrets. */
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { defineCommand, defineGroup } from '../../host/command-line.ts'
import { confirmByName, yesOption } from '../../host/confirm.ts'
import { outputOption } from '../../host/options.ts'
import { printJson, table } from '../../host/output.ts'
import { EXIT, UserError } from '../../host/user-error.ts'
import { ERRORS } from '../../protocol/errors.ts'
import type { KeyringReply } from '../../protocol/secrets.ts'
import { connectionOptions, withGateway } from '../connection.ts'
import { checkSameKeyring, type KeyringPlace, withKeyring } from '../keys/keyring-place.ts'
import { progressText, rewrapAll } from '../keys/rewrap.ts'
import { directoryOption, findRunningGateway } from '../run-file.ts'
import { parseNumber } from '../secrets/options.ts'
import { addMasterKey, removeMasterKey } from '../up/keyring-file.ts'

const status = defineCommand({
  name: 'status',
  summary:
    'Show the versions of the master key, what is stored under each, and how far a move to the active one is',
  options: { output: outputOption, ...connectionOptions },
  async run({ options }) {
    const keyring = await withGateway(options, (client) => client.keyring())
    if (options.output === 'json') return printJson(keyring)
    process.stdout.write(`${keyTable(keyring)}\nmove to the active key: ${progressText(keyring)}\n`)
  },
})

const rotate = defineCommand({
  name: 'rotate',
  summary: 'Add a new master key, make it the active one, and move everything that is stored to it',
  details: `A \`claw up\` of this machine takes it at once; nobody who reads a secret is kept waiting. For a gateway on Cloudflare your own copy of
keyring.json, in --dir, gets the new key, and the command to hand it over is printed. No key is ever shown.`,
  options: { dir: directoryOption, ...connectionOptions },
  async run({ options }) {
    if (isStopped(options)) {
      const { active } = addMasterKey(resolve(options.dir))
      process.stderr.write(
        `version ${active} counts from the next start of \`claw up\`; \`claw key rewrap\` then moves what is stored\n`,
      )
      return
    }
    await withKeyring(options, async (client, place) => {
      const before = await client.keyring()
      if (before.rewrap.state === 'running') throw inRewrap()
      checkSameKeyring(place, before)
      const { active } = addMasterKey(place.directory)
      const handedOver = await place.handOver((keyring) => keyring.active === active)
      process.stderr.write(
        `version ${active} is in ${place.path}: BACK THAT FILE UP ANEW, older copies do not have it\n`,
      )
      if (handedOver === 'by-hand') return tellHandOver(place, 'claw key rewrap')
      const { usage } = await rewrapAll(client)
      process.stderr.write(`version ${active} is active, and everything is stored under it\n`)
      const unused = before.versions.filter((version) => (usage[version] ?? 0) === 0 && version !== active)
      for (const version of unused)
        process.stderr.write(`version ${version} is not needed any more: \`claw key retire ${version}\`\n`)
    })
  },
})

const rewrap = defineCommand({
  name: 'rewrap',
  summary: 'Move everything that is stored to the active master key, or go on after a failure',
  options: { output: outputOption, ...connectionOptions },
  async run({ options }) {
    const keyring = await withGateway(options, rewrapAll)
    if (options.output === 'json') return printJson(keyring)
    process.stderr.write(`everything is stored under version ${keyring.active}\n`)
  },
})

const retire = defineCommand({
  name: 'retire',
  summary: 'Remove a master key that nothing is stored under any more',
  details:
    'Copies of the database from before the move need it: keep a copy of the keyring as long as you keep those.',
  positionals: ['VERSION'],
  options: { dir: directoryOption, yes: yesOption, ...connectionOptions },
  async run({ options, positionals }) {
    const version = parseNumber('VERSION', positionals.VERSION)
    await withKeyring(options, async (client, place) => {
      const keyring = await client.keyring()
      checkRetirable(version, keyring)
      checkSameKeyring(place, keyring)
      await confirmByName('version', `${version}`, options.yes)
      removeMasterKey(place.directory, version)
      const handedOver = await place.handOver(({ versions }) => !versions.includes(version))
      process.stderr.write(`version ${version} is removed from ${place.path}\n`)
      if (handedOver === 'by-hand') tellHandOver(place, 'claw key status')
    })
  },
})

export const keyCommands = defineGroup({
  name: 'key',
  summary: 'The master keys, under which managed secrets are kept',
  commands: [status, rotate, rewrap, retire],
})

/** A gateway of this machine that does not run, and no other one is meant. */
function isStopped(options: { readonly dir: string; readonly gateway?: string | undefined }): boolean {
  if ((options.gateway ?? process.env['CLAW_GATEWAY']) !== undefined) return false
  return findRunningGateway(options.dir) === undefined && existsSync(join(options.dir, 'keyring.json'))
}

function tellHandOver({ path }: KeyringPlace, next: string): void {
  process.stderr.write(`The gateway does not have it yet. Hand it over, then go on:\n`)
  process.stdout.write(`wrangler secret put MASTER_KEYRING < ${quoted(path)}\n${next}\n`)
}

/** As a shell takes it. */
const quoted = (path: string): string =>
  /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`

function checkRetirable(version: number, { active, versions, usage }: KeyringReply): void {
  const stored = usage[version] ?? 0
  if (version === active)
    throw refused(version, 'it is the active one', '`claw key rotate` makes another one active')
  if (stored > 0)
    throw refused(version, `${stored} stored versions are under it`, '`claw key rewrap` moves them')
  if (versions.includes(version)) return
  throw new UserError({
    code: 'E_KEY_VERSION',
    message: `the keyring has no version ${version}`,
    why: `it has ${versions.join(', ')}`,
    exitCode: EXIT.notFound,
  })
}

function keyTable({ active, versions, usage }: KeyringReply): string {
  const all = [...new Set([...versions, ...Object.keys(usage).map(Number)])].sort((a, b) => a - b)
  return table(all, [
    { header: 'VERSION', value: String },
    {
      header: 'STATE',
      value: (version) =>
        version === active ? 'active' : versions.includes(version) ? 'kept' : 'RETIRED, BUT NEEDED',
    },
    { header: 'STORED UNDER IT', value: (version) => String(usage[version] ?? 0) },
  ])
}

const refused = (version: number, why: string, fix: string): UserError =>
  new UserError({
    code: 'E_MASTER_KEY_IN_USE',
    message: `version ${version} of the master key cannot be retired`,
    why,
    fix,
    exitCode: EXIT.conflict,
  })

const inRewrap = (): UserError =>
  new UserError({
    code: 'E_KEY_IN_REWRAP',
    message: ERRORS.E_KEY_IN_REWRAP.title,
    exitCode: EXIT.conflict,
  })
