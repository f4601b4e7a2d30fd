/** `clawnode exec`: runs a command with its secrets, and again or with a signal when they have changed. */
import { constants } from 'node:os'
import { defineCommand } from '../../host/command-line.ts'
import { parseDuration } from '../../host/duration.ts'
import { usageError } from '../../host/options.ts'
import { EXIT, printError, UserError } from '../../host/user-error.ts'
import { type Command, type Ending, endAs } from '../child-process.ts'
import { systemClock } from '../clock.ts'
import { type ConfigFlags, loadNodeConfig } from '../config/node-config.ts'
import { stderrLog } from '../log.ts'
import { parseAssignments } from '../secrets/assignments.ts'
import { type JobOptions, type OnChange, runJob } from '../secrets/job.ts'
import { cacheOptions, configFlags, configOptions } from './configuration.ts'
import { parseWait, parseWorkload, waitOption, workloadOption } from './secret-options.ts'

export const execCommand = defineCommand({
  name: 'exec',
  summary: 'run a command with secrets, and again when they change',
  details: `NAME is a secret's newest value, NAME@VERSION one of its versions. The command is started when all of its secrets are there. While the
gateway is away they are those that this node has kept; if it has not, or a secret does not exist yet, they are waited for until --timeout.
What is denied is not waited for.

Files and pipes are in memory (tmpfs), in a directory that goes with the command; their path is in ENV. A file is replaced whole when its
secret changes. A pipe can be read --max-reads times for each start of the command or change of its secret.

On a change the command is asked to end (SIGTERM), made to after --grace (SIGKILL), and started again; with signal:SIGHUP it gets that
signal once its files are new, and its variables stay as they were. Changes are heard from the running agent. Where none runs, and where
standard input is a terminal, nothing happens unless --on-change is given; without an agent they are then looked for every minute. A command
that ends by itself is not started again.

Ends as the command ends: with its exit code, or by the signal that ended it. 125 is this program's own failure (the command was not
started), 126 a command that cannot be executed, 127 one that is not found.`,
  options: {
    secret: {
      type: 'string',
      multiple: true,
      value: 'ENV=NAME',
      help: 'put the secret into the variable ENV',
    },
    file: {
      type: 'string',
      multiple: true,
      value: 'ENV=NAME',
      help: 'put it into a file in memory, and its path into ENV',
    },
    pipe: { type: 'string', multiple: true, value: 'ENV=NAME', help: 'the same with a named pipe' },
    'max-reads': { type: 'string', value: 'N', help: 'how often a pipe can be read (default 1)' },
    mask: {
      type: 'boolean',
      help: "show *** where the command's output holds a secret, in base64 and hexadecimal too; its output is then no terminal",
    },
    'on-change': {
      type: 'string',
      value: 'ACTION',
      help: 'restart, signal:NAME or ignore (default restart)',
    },
    grace: { type: 'string', value: 'TIME', default: '30s', help: 'from SIGTERM to SIGKILL' },
    timeout: waitOption,
    workload: workloadOption,
    ...cacheOptions,
    ...configOptions,
  },
  rest: 'COMMAND',
  run: async ({ options, rest }) => {
    const [command, ...args] = rest
    if (command === undefined) throw usageError('COMMAND is missing')
    const wanted: Wanted = {
      flags: configFlags(options),
      assignments: parseAssignments(options),
      maxReads: parseMaxReads(options['max-reads'], options.pipe),
      onChange: parseOnChange(options['on-change']),
      graceMs: parseGrace(options.grace),
      waitMs: parseWait(options.timeout),
      workload: parseWorkload(options.workload),
      mask: options.mask,
    }
    let ending: Ending
    try {
      ending = await run([command, ...args], wanted)
    } catch (error) {
      // Whatever its code would be elsewhere: any other than 125 would be read as the command's own.
      printError(error)
      return EXIT.execFailed
    }
    switch (ending.kind) {
      case 'exited':
        return ending.code
      case 'signalled':
        return endAs(ending.signal)
      case 'not_started':
        throw new UserError({
          code: 'E_COMMAND',
          message: `${command}: ${ending.reason}`,
          exitCode: ending.code,
        })
    }
  },
})

/** As the options of the command line say it. */
interface Wanted
  extends Pick<
    JobOptions,
    'assignments' | 'maxReads' | 'onChange' | 'graceMs' | 'waitMs' | 'workload' | 'mask'
  > {
  readonly flags: ConfigFlags
}

async function run(command: Command, { flags, ...wanted }: Wanted): Promise<Ending> {
  const config = loadNodeConfig(flags)
  return runJob({
    ...wanted,
    command,
    config,
    clock: systemClock,
    log: stderrLog(config.logLevel),
    env: process.env,
    terminal: process.stdin.isTTY === true,
  })
}

/** A timer for longer than 2^31 ms fires at once. */
const LONGEST_GRACE_MS = 24 * 60 * 60_000

function parseGrace(text: string): number {
  const grace = parseDuration(text)
  if (grace > LONGEST_GRACE_MS) throw usageError('--grace is at most 24h')
  return grace
}

function parseMaxReads(text: string | undefined, pipes: readonly string[]): number {
  if (text === undefined) return 1
  if (pipes.length === 0) throw usageError('--max-reads is for --pipe')
  if (!/^[1-9][0-9]{0,5}$/.test(text)) throw usageError('--max-reads takes a number from 1 on')
  return Number(text)
}

function parseOnChange(text: string | undefined): OnChange | undefined {
  if (text === undefined) return undefined
  if (text === 'restart' || text === 'ignore') return { kind: text }
  const [, name] = /^signal:(SIG[A-Z0-9]+)$/.exec(text) ?? []
  if (name === undefined) throw usageError('--on-change takes restart, signal:SIGHUP or ignore')
  if (!Object.hasOwn(constants.signals, name)) throw usageError(`there is no signal ${name}`)
  return { kind: 'signal', signal: name as NodeJS.Signals }
}
