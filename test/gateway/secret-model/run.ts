/** Runs one sequence: its steps with their faults, then what follows any crash, and at the end what must hold. */
import type { Keyring } from '../../../crypto/keyring.ts'
import { settleLost } from '../../../secrets/change.ts'
import { KnownSecrets } from '../../../secrets/known.ts'
import { findSecrets } from '../../../secrets/rows.ts'
import { checkTrail } from './check-trail.ts'
import { checkWork } from './check-work.ts'
import { CONNECTION_LOST, cacheInMemory, Faults, faultyStores, type Stores } from './faults.ts'
import { History, type Work } from './history.ts'
import { type Choose, isOpen, Lane, takeTurns } from './lanes.ts'
import { effectOf } from './model.ts'
import { DAY, LOST, type Operation, type Sequence } from './operations.ts'
import { perform, workOf } from './perform.ts'
import { compare, frameHash, openedValue, storedNames, storedRow } from './stored.ts'
import type { World } from './world.ts'

/** Unix milliseconds, for everything that a sequence touches. */
export interface Clock {
  now: number
}

interface Isolate {
  readonly known: KnownSecrets
  readonly keyring: Keyring
}

export class Run {
  readonly history: History
  readonly faults: Faults
  /** Tries of its changes that came second. */
  conflicts = 0
  readonly #world: World
  readonly #clock: Clock
  readonly #keyrings: readonly Keyring[]
  readonly #sequence: Sequence
  readonly #stores: Stores
  readonly #isolates: [Isolate, Isolate]
  readonly #start: number
  /** Frames that have been opened once, by their hash. */
  readonly #opened = new Map<string, string | undefined>()
  readonly #revisions = new Map<string, number>()
  #lanes: { readonly lane: Lane; readonly isolate: Isolate | undefined }[] = []
  #turn = 0

  /** @param keyrings of the same keys, the first with key 1 active, the second with key 2. */
  constructor(world: World, clock: Clock, keyrings: readonly [Keyring, Keyring], sequence: Sequence) {
    this.#world = world
    this.#clock = clock
    this.#keyrings = keyrings
    this.#sequence = sequence
    this.#start = clock.now
    this.history = new History(clock.now)
    this.faults = new Faults(sequence.faults)
    const { db, trail } = world
    this.#stores = { db, trail, cache: cacheInMemory(sequence.cache), now: () => clock.now }
    const isolate = (): Isolate => ({ known: new KnownSecrets(), keyring: keyrings[0] })
    this.#isolates = [isolate(), isolate()]
  }

  /** @param choose instead of the turns of the sequence. @returns what must not be. */
  async run(choose?: Choose): Promise<readonly string[]> {
    await this.#world.db.batch(
      ['secret_versions', 'secrets', 'mutations'].map((table) =>
        this.#world.db.prepare(`DELETE FROM ${table}`),
      ),
    )
    const first = await this.#world.trailSize()
    for (const step of this.#sequence.steps) await this.#step(step, choose ?? this.#inTurn)
    await this.#recover()
    await this.#checkStored()
    checkWork(this.history)
    this.conflicts = await checkTrail(this.history, this.#world, first)
    return this.history.violations
  }

  readonly #inTurn: Choose = (lanes) => {
    const { turns } = this.#sequence
    const open = lanes.filter(isOpen)
    return open[(turns[this.#turn++ % turns.length] ?? 0) % open.length]
  }

  async #step(operations: readonly Operation[], choose: Choose): Promise<void> {
    this.#lanes = operations.map((operation) => {
      const isolate = 'isolate' in operation ? this.#isolates[operation.isolate] : undefined
      const lane = new Lane((own) => this.#operate(operation, isolate, own), operations.length === 1)
      return { lane, isolate }
    })
    await takeTurns(
      this.#lanes.map(({ lane }) => lane),
      choose,
    )
  }

  async #operate(operation: Operation, isolate: Isolate | undefined, lane: Lane): Promise<void> {
    switch (operation.kind) {
      case 'wait':
        // Nothing stays under way for hours.
        await this.faults.arrive()
        return this.#pass(operation.ms)
      case 'restart trail':
        return this.#world.restartTrail()
      case 'lose isolate':
        return this.#lose(isolate)
      case 'activate key': {
        const keyring = this.#keyrings[operation.key - 1]
        const index = isolate === undefined ? -1 : this.#isolates.indexOf(isolate)
        if (keyring !== undefined && isolate !== undefined && index >= 0)
          this.#isolates[index] = { ...isolate, keyring }
        return
      }
      case 'sweep':
        this.#pass(operation.after)
    }
    if (isolate === undefined) throw new Error('work needs an isolate')
    await this.#work(workOf(this.history, operation, isolate.keyring.active, this.#start), isolate, lane)
  }

  async #work(work: Work, isolate: Isolate, lane: Lane): Promise<void> {
    const later: Promise<unknown>[] = []
    const stores = faultyStores(this.#stores, {
      lane,
      faults: this.faults,
      keyring: isolate.keyring,
      faulted: (write) => work.faults.push(write),
      crash: () => this.#lose(isolate),
      committed: () => this.#committed(work),
      later: (promise) => later.push(promise.catch(() => undefined)),
    })
    try {
      const result = await perform(stores, isolate.known, work)
      work.outcome = result.ok
        ? { done: result.value }
        : { refused: result.error.code, detail: result.error.detail }
    } catch (error) {
      work.outcome = 'failed'
      if (!(error instanceof Error) || error.message !== CONNECTION_LOST)
        this.history.violate(error instanceof Error ? `${error.stack}` : String(error), work)
    }
    work.end = this.history.last
    await Promise.all(later)
  }

  #pass(ms: number): void {
    this.#clock.now += ms
    this.history.pass(ms)
  }

  /** Everything that runs in it ends where it is; what it knew is gone. */
  #lose(isolate: Isolate | undefined): void {
    if (isolate === undefined) return
    for (const one of this.#lanes) if (one.isolate?.known === isolate.known) one.lane.end()
    const index = this.#isolates.findIndex(({ known }) => known === isolate.known)
    if (index >= 0) this.#isolates[index] = { known: new KnownSecrets(), keyring: isolate.keyring }
  }

  /** The model follows each transaction that touches a secret, and must then be what is stored. */
  async #committed(work: Work): Promise<void> {
    const { change } = work
    if (change === undefined) return
    const { name } = change
    const began = this.history.moments[work.start]?.now ?? 0
    const before = this.history.present.state.get(name)
    const effect = effectOf(before, change, began)
    if (typeof effect === 'string' || 'refused' in effect)
      return this.history.violate(`happened, although it was to be: ${JSON.stringify(effect)}`, work)
    const stored = await storedRow(this.#world.db, name)
    const compared = compare(effect.secret, stored, this.#clock.now - began, (row) =>
      this.#valueOf(name, row),
    )
    if ('differs' in compared) this.history.violate(compared.differs, work)
    if ((stored?.revision ?? 0) <= (this.#revisions.get(name) ?? 0))
      this.history.violate('the revision did not rise', work)
    this.#revisions.set(name, stored?.revision ?? 0)
    work.commits.push(this.history.commit(name, 'secret' in compared ? compared.secret : effect.secret))
  }

  readonly #valueOf = (name: Parameters<typeof openedValue>[1], row: Parameters<typeof openedValue>[2]) => {
    if (row.frame === undefined) return ''
    const id = `${name} ${row.key} ${frameHash(row.frame)}`
    if (!this.#opened.has(id)) this.#opened.set(id, openedValue(this.#keyrings[0] as Keyring, name, row))
    return this.#opened.get(id)
  }

  /** As after any crash: some of what was under way arrives, the sweep comes by, the rest arrives, and it comes again. */
  async #recover(): Promise<void> {
    await this.faults.arrive(0.5)
    for (const wait of [LOST, LOST]) {
      this.#pass(wait)
      await this.#sweep()
      await this.faults.arrive()
    }
    const open = await this.#world.trail.openIntents(Number.MAX_SAFE_INTEGER)
    if (open.length > 0) this.history.violate(`open after the sweep: ${JSON.stringify(open)}`)
    this.#pass(DAY + LOST)
    await this.#sweep()
    const left = await this.#world.db.prepare('SELECT COUNT(*) AS n FROM mutations').first<{ n: number }>()
    if (left?.n !== 0) this.history.violate(`${left?.n} mutations are kept for ever`)
  }

  async #sweep(): Promise<void> {
    const [{ keyring }] = this.#isolates
    const { db } = this.#world
    const stores = { ...this.#stores, keyring, later: () => undefined }
    await settleLost({ ...stores, lookUp: (wanted) => findSecrets(db, wanted) })
  }

  async #checkStored(): Promise<void> {
    const { state } = this.history.present
    for (const name of new Set([...state.keys(), ...(await storedNames(this.#world.db))])) {
      const stored = await storedRow(this.#world.db, name)
      const compared = compare(state.get(name), stored, 0, (row) => this.#valueOf(name, row))
      if ('differs' in compared) this.history.violate(`at the end, ${name}: ${compared.differs}`)
    }
  }
}
