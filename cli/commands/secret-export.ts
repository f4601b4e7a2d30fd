/** `claw secret export`: many values at once, in clear. */
import { fstatSync } from 'node:fs'
import { defineCommand } from '../../host/command-line.ts'
import { confirm, yesOption } from '../../host/confirm.ts'
import { createPrivateFile } from '../../host/private-file.ts'
import { EXIT, UserError } from '../../host/user-error.ts'
import { connectionOptions, withGateway } from '../connection.ts'
import { asDotenv, asJson, type Exported } from '../secrets/export-form.ts'
import { isIn, parseFolder } from '../secrets/names.ts'
import { identityOption } from '../secrets/options.ts'
import { readSecret } from '../secrets/read-secret.ts'

export const exportCommand = defineCommand({
  name: 'export',
  summary: 'Write the newest values of a folder, or of all, to a .env or JSON file, in clear',
  details: `Each value that is read is in the audit trail, marked as an export. --file makes a new file that only you can read. What is
deleted or destroyed is left out.`,
  optional: ['PREFIX'],
  options: {
    format: {
      type: 'string',
      value: 'FORMAT',
      default: 'env',
      choices: ['env', 'json'],
      help: 'env or json',
    },
    file: {
      type: 'string',
      value: 'FILE',
      help: 'write a new file, readable by you alone, instead of standard output',
    },
    ...identityOption,
    yes: { ...yesOption, help: 'do not ask, and write to a terminal as well' },
    ...connectionOptions,
  },
  async run({ options, positionals }) {
    const folder = parseFolder(positionals.PREFIX)
    if (options.file === undefined) checkStandardOutput(options.yes)
    const { text, count, left } = await withGateway(options, async (client) => {
      const found = (await client.secrets({ prefix: folder })).filter(({ name }) => isIn(folder, name))
      const live = found.filter(({ state }) => state === 'live')
      await confirm({
        consequence: `this writes ${secretsText(live.length)} in clear to ${options.file ?? 'standard output'}`,
        answer: `export ${live.length}`,
        refused: 'nothing was exported',
        yes: options.yes,
      })
      const exported: Exported[] = []
      try {
        for (const { name, version } of live) {
          const { value } = await readSecret(client, name, options.identity, { version, purpose: 'export' })
          exported.push({ name, value })
        }
        const text = options.format === 'json' ? asJson(exported) : asDotenv(folder, exported)
        return { text, count: live.length, left: found.length - live.length }
      } finally {
        for (const { value } of exported) value.wipe()
      }
    })
    if (options.file === undefined) process.stdout.write(text)
    else if (!createPrivateFile(options.file, text)) throw fileExists(options.file)
    const deleted =
      left === 0 ? '' : `; ${left} of which nothing is live ${left === 1 ? 'was' : 'were'} left out`
    process.stderr.write(`${secretsText(count)} exported${deleted}\n`)
  },
})

/** A terminal keeps what it shows, and a file that a shell has opened is as open as its umask left it. */
function checkStandardOutput(yes: boolean): void {
  if (process.stdout.isTTY) {
    if (yes) return
    throw refusedOutput('values are not written to a terminal', 'name a file with --file, or add --yes')
  }
  const status = fstatSync(1)
  if (status.isFile() && (status.mode & 0o077) !== 0)
    throw refusedOutput(
      'standard output is a file that others can read',
      'name a new one with --file instead',
    )
}

const secretsText = (count: number): string => (count === 1 ? '1 secret' : `${count} secrets`)

const refusedOutput = (message: string, fix: string): UserError =>
  new UserError({ code: 'E_EXPORT_OUTPUT', message, fix, exitCode: EXIT.usage })

const fileExists = (path: string): UserError =>
  new UserError({
    code: 'E_FILE_EXISTS',
    message: `${path} is there already`,
    fix: 'name a new file',
    exitCode: EXIT.conflict,
  })
