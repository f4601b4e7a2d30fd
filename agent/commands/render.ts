/** `clawnode render`: a configuration file with secrets in it, and again when they change. */
import { readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { defineCommand } from '../../host/command-line.ts'
import { usageError } from '../../host/options.ts'
import { EXIT, UserError } from '../../host/user-error.ts'
import { systemClock } from '../clock.ts'
import { loadNodeConfig } from '../config/node-config.ts'
import { stderrLog } from '../log.ts'
import { wipeSecrets } from '../secrets/kept-secrets.ts'
import { type RenderHook, runHook } from '../secrets/render-hook.ts'
import { RenderedFile } from '../secrets/rendered-file.ts'
import { SecretSource } from '../secrets/secret-source.ts'
import { parseTemplate, type Template } from '../secrets/template.ts'
import { watchFile } from '../secrets/watched-file.ts'
import { cacheOptions, configFlags, configOptions } from './configuration.ts'
import { parseWait, parseWorkload, waitOption, workloadOption } from './secret-options.ts'

export const renderCommand = defineCommand({
  name: 'render',
  summary: 'write a file from a template with secrets in it',
  details: `In the template {{ secret "NAME" }} stands for a secret's value, {{ secret "NAME@VERSION" }} for that of one version, and
{{ "TEXT" }} for a text, such as {{ "{{" }}. Filters follow behind a |, each on what the one before has made:
  trim     without white space at its ends      base64   in base64
  json     a JSON string, with its quotes       b64dec   out of base64
  shell    one word of a shell                  url      a part of a URL
Everything else stays as it is. What is not understood, and a secret that is not to be had, is an error with its line and column, and
nothing is written. OUT is replaced whole, and only if its content or mode would be another. Best let it be on a tmpfs.

With --watch it goes on until SIGTERM, and writes OUT anew when a secret changes: as the running agent hears of it, or, where none runs, within
a minute. --exec and --signal are for each time that OUT is new, the first included.`,
  positionals: ['TEMPLATE', 'OUT'],
  options: {
    mode: { type: 'string', value: 'MODE', default: '0600', help: 'permissions of OUT, in octal' },
    watch: { type: 'boolean', help: 'go on, and write OUT anew when a secret changes' },
    exec: { type: 'string', value: 'COMMAND', help: 'run this with sh -c when OUT is new' },
    signal: { type: 'string', value: 'NAME', help: 'send this to the process of --pid-file when OUT is new' },
    'pid-file': { type: 'string', value: 'FILE', help: 'where the number of that process is' },
    timeout: waitOption,
    workload: workloadOption,
    ...cacheOptions,
    ...configOptions,
  },
  run: async ({ options, positionals: { TEMPLATE, OUT } }) => {
    const mode = parseMode(options.mode)
    const hook = parseHook(options)
    const waitMs = parseWait(options.timeout)
    const workload = parseWorkload(options.workload)
    const template = readTemplate(TEMPLATE)
    const config = loadNodeConfig(configFlags(options))
    const shared = { config, clock: systemClock, log: stderrLog(config.logLevel), workload }
    const source = new SecretSource(shared)
    const file = new RenderedFile({ template, path: OUT, mode })
    const { references } = template
    if (options.watch) return watchFile({ ...shared, source, references, file, hook, waitMs })
    const { secrets } = await source.obtain(references, waitMs).catch((error: unknown) => {
      throw error instanceof UserError ? file.locate(error) : error
    })
    try {
      if (file.write(secrets)) await runHook(hook)
    } finally {
      wipeSecrets(secrets)
    }
  },
})

function readTemplate(path: string): Template {
  let bytes: Uint8Array
  try {
    bytes = readFileSync(path)
  } catch (error) {
    throw new UserError({
      code: 'E_TEMPLATE',
      message: `${path} cannot be read`,
      why: error instanceof Error ? error.message : String(error),
      exitCode: EXIT.badConfig,
    })
  }
  return parseTemplate(bytes, path)
}

/** Whoever may write the file decides what is in it. */
function parseMode(text: string): number {
  if (!/^0?[0-7]{3}$/.test(text)) throw usageError('--mode takes permissions in octal, such as 0640')
  const mode = Number.parseInt(text, 8)
  if ((mode & 0o022) !== 0)
    throw usageError('--mode lets others write what is rendered', 'for example --mode 0640')
  return mode
}

interface HookOptions {
  readonly exec: string | undefined
  readonly signal: string | undefined
  readonly 'pid-file': string | undefined
}

function parseHook({ exec: command, signal: name, 'pid-file': pidFile }: HookOptions): RenderHook {
  if ((name === undefined) !== (pidFile === undefined))
    throw usageError('--signal and --pid-file go together')
  if (name === undefined || pidFile === undefined) return { command, signal: undefined }
  if (!Object.hasOwn(constants.signals, name))
    throw usageError(`there is no signal ${name}`, 'for example --signal SIGHUP')
  return { command, signal: { name: name as NodeJS.Signals, pidFile } }
}
