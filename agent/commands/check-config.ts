/** `clawnode check-config`: what the agent would work by and where each value comes from, or everything that is wrong with it. */
import { defineCommand } from '../../host/command-line.ts'
import { outputOption } from '../../host/options.ts'
import { printJson, table } from '../../host/output.ts'
import { DEFAULTS, type EffectiveConfig, readNodeConfig, stateDirectory } from '../config/node-config.ts'
import { NODE_SETTINGS, type SettingName } from '../config/settings.ts'
import { configFlags, configOptions, meshOptions, trustOptions } from './configuration.ts'

export const checkConfigCommand = defineCommand({
  name: 'check-config',
  summary: 'show the effective configuration, and all that is wrong with it',
  details:
    'Settings come from the file, the environment (CLAWNODE_ and the name in capitals) and flags, the later before the earlier. ' +
    'Nothing is sent and nothing is written. Exits with 78 if the agent would not start with it.',
  options: { output: outputOption, ...configOptions, ...trustOptions, ...meshOptions },
  run: ({ options }) => {
    const effective = readNodeConfig(configFlags(options))
    const rows = rowsOf(effective)
    const { found } = effective.problems
    if (options.output === 'json')
      printJson({
        apiVersion: 'claw/v1',
        kind: 'NodeConfig',
        valid: found.length === 0,
        items: rows,
        problems: found,
      })
    else process.stdout.write(describe(rows))
    effective.problems.throwIfAny()
  },
})

interface Row {
  readonly setting: SettingName
  /** Null for one that nobody made and that has no default. */
  readonly value: string | number | boolean | readonly string[] | null
  readonly source: string
}

const NAMES = Object.keys(NODE_SETTINGS) as SettingName[]

const rowsOf = ({ settings }: EffectiveConfig): Row[] =>
  NAMES.map((setting) => {
    const { value = byDefault(setting), source = 'default' } = settings[setting] ?? {}
    return { setting, value: redact(setting, value), source }
  })

function byDefault(setting: SettingName): Row['value'] {
  if (setting === 'dir') return stateDirectory(process.env)
  return Object.hasOwn(DEFAULTS, setting) ? DEFAULTS[setting as keyof typeof DEFAULTS] : null
}

/** What is printed here ends in tickets: of a pin the beginning is enough to tell it by, and an address must not carry a password. */
function redact(setting: SettingName, value: Row['value']): Row['value'] {
  if (setting === 'gateway_cert_fingerprint' && Array.isArray(value))
    return value.map((pin: string) => `${pin.slice(0, pin.startsWith('sha256/') ? 15 : 8)}…`)
  if (setting === 'gateway_url' && typeof value === 'string' && value.includes('@')) return '[REDACTED]'
  return value
}

const describe = (rows: readonly Row[]): string =>
  table(rows, [
    { header: 'SETTING', value: ({ setting }) => setting },
    { header: 'VALUE', value: ({ value }) => (value === null ? '-' : String(value)) },
    { header: 'SOURCE', value: ({ source }) => source },
  ])
