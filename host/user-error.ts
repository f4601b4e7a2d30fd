/** Errors meant for the person at the terminal, how they are printed, and the exit codes both programs share. */
import { plainJson, plainLines } from './plain-text.ts'

export const EXIT = {
  ok: 0,
  failure: 1,
  usage: 2,
  degraded: 3,
  auth: 4,
  notFound: 5,
  conflict: 6,
  denied: 7,
  timeout: 8,
  unavailable: 9,
  /** A dangerous command needs a confirmation that nobody is there to give. */
  confirmation: 10,
  /** From sysexits.h: worth trying again. */
  temporary: 75,
  badConfig: 78,
  /** `exec` failed itself; any other code is the child's. */
  execFailed: 125,
  interrupted: 130,
  /** The node was removed: a supervisor must not restart it. */
  revoked: 194,
} as const

/** One of several things that are wrong with a configuration. */
export interface ConfigProblem {
  readonly setting: string
  /** Where it was set: a file, a variable, a flag. */
  readonly source: string
  readonly code: string
  readonly message: string
  readonly fix?: string | undefined
}

interface UserErrorOptions {
  /** Stable, for programs to switch on. */
  readonly code: string
  readonly message: string
  readonly why?: string | undefined
  /** What to do, best as a command to copy. */
  readonly fix?: string | undefined
  readonly exitCode?: number
  readonly requestId?: string | undefined
  readonly problems?: readonly ConfigProblem[] | undefined
}

/** An expected failure. Anything else that is thrown is a bug. */
export class UserError extends Error {
  override readonly name = 'UserError'
  readonly code: string
  readonly why: string | undefined
  readonly fix: string | undefined
  readonly exitCode: number
  readonly requestId: string | undefined
  readonly problems: readonly ConfigProblem[]

  constructor(options: UserErrorOptions) {
    super(options.message)
    this.code = options.code
    this.why = options.why
    this.fix = options.fix
    this.exitCode = options.exitCode ?? EXIT.failure
    this.requestId = options.requestId
    this.problems = options.problems ?? []
  }
}

/** Prints on standard error and returns the exit code. The stack of a bug is shown only with CLAW_DEBUG=1. */
export function printError(error: unknown, options: { json?: boolean } = {}): number {
  const shown = error instanceof UserError ? error : bug(error)
  process.stderr.write(options.json === true ? asJson(shown) : asText(shown))
  if (shown !== error && process.env['CLAW_DEBUG'] === '1' && error instanceof Error) {
    process.stderr.write(`${error.stack}\n`)
  }
  return shown.exitCode
}

function bug(error: unknown): UserError {
  return new UserError({
    code: 'E_BUG',
    message: error instanceof Error ? error.message : String(error),
    why: 'this is a bug in the program',
    fix: 'run the same command with CLAW_DEBUG=1 and report what it prints',
  })
}

function asText({ message, why, fix, code, requestId, problems }: UserError): string {
  const lines = [`error: ${message}`]
  for (const problem of problems) {
    lines.push(`  - ${problem.setting} (${problem.source}): ${problem.message} [${problem.code}]`)
    if (problem.fix !== undefined) lines.push(`    fix: ${problem.fix}`)
  }
  if (why !== undefined) lines.push(`  why: ${why}`)
  if (fix !== undefined) lines.push(`  fix: ${fix}`)
  lines.push(`  code: ${code}`)
  if (requestId !== undefined) lines.push(`  request: ${requestId}`)
  // Some of it is what another machine has said.
  return `${plainLines(lines.join('\n'))}\n`
}

function asJson({ message, why, fix, code, requestId, exitCode, problems }: UserError): string {
  const several = problems.length > 0 && { problems }
  return `${plainJson({ error: { code, message, why, fix, requestId, exitCode, ...several } })}\n`
}
