/** A command's output on its way to this program's: without the secrets that the command has, or had. */
import type { ChildProcess } from 'node:child_process'
import { write as writeTo } from 'node:fs'
import type { Readable } from 'node:stream'
import { promisify } from 'node:util'
import { type Clock, sleep } from '../clock.ts'
import type { Secrets } from './kept-secrets.ts'
import { OutputMask } from './output-mask.ts'
import { PatternMatcher } from './pattern-matcher.ts'
import { formsOf } from './secret-forms.ts'

/** What the command has started may hold its output open for ever. */
const FINISH_WITHIN_MS = 2_000

interface Shown {
  /** Resolves when all that the command has printed is shown. */
  finish(): Promise<void>
}

export class MaskedOutput {
  readonly #clock: Clock
  #forms: Uint8Array[] = []
  #matcher = new PatternMatcher([])
  readonly #masks = new Set<OutputMask>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Before the command has them. @returns references whose values are too short to be hidden. */
  learn(secrets: Secrets): string[] {
    const found = Array.from(
      secrets,
      ([reference, { value }]) => [reference, formsOf(value.expose())] as const,
    )
    const outdated = this.#matcher
    // What was hidden stays hidden: the command may still print it.
    const fresh = found.flatMap(([, forms]) => forms).filter((form) => !this.#knows(form))
    this.#forms = [...this.#forms, ...fresh.map((form) => Uint8Array.from(form))]
    this.#matcher = new PatternMatcher(this.#forms)
    for (const mask of this.#masks) mask.use(this.#matcher)
    outdated.wipe()
    return found.filter(([, forms]) => forms.length === 0).map(([reference]) => reference)
  }

  show({ stdout, stderr }: ChildProcess): Shown {
    const streams = [
      ...(stdout === null ? [] : [{ from: stdout, to: 1 }]),
      ...(stderr === null ? [] : [{ from: stderr, to: 2 }]),
    ]
    const all = Promise.all(streams.map(({ from, to }) => this.#show(from, to)))
    const finish = async () => {
      const late = new AbortController()
      void all.then(() => late.abort())
      await sleep(this.#clock, FINISH_WITHIN_MS, late.signal)
      for (const { from } of streams) from.destroy()
      await all
    }
    return { finish }
  }

  wipe(): void {
    this.#matcher.wipe()
    for (const form of this.#forms) form.fill(0)
  }

  #knows(form: Uint8Array): boolean {
    return this.#forms.some((known) => known.length === form.length && Buffer.compare(known, form) === 0)
  }

  async #show(from: Readable, to: number): Promise<void> {
    const mask = new OutputMask(this.#matcher)
    this.#masks.add(mask)
    try {
      for await (const chunk of from as AsyncIterable<Uint8Array>) await this.#write(to, mask.write(chunk))
    } catch {
      // Nobody reads any more, and the command is to notice; or it has ended and left its output to somebody else.
      from.destroy()
    }
    this.#masks.delete(mask)
    await this.#write(to, mask.end()).catch(() => {})
  }

  /**
   * Not by way of `process.stdout`, which ends this program when its reader leaves, before the command has ended. Whatever has looked at that
   * has made the descriptor one that does not wait: a slow reader then is an error that means "later".
   */
  async #write(output: number, bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      try {
        at += (await writeSome(output, bytes, at, bytes.length - at, null)).bytesWritten
      } catch (error) {
        if (!(error instanceof Error && 'code' in error && error.code === 'EAGAIN')) throw error
        await sleep(this.#clock, LATER_MS, NEVER)
      }
    }
  }
}

const writeSome = promisify(writeTo)
const LATER_MS = 2
const NEVER = new AbortController().signal
