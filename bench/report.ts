/** The figures of a benchmark, as a table for people or as JSON for programs, with the machine they were taken on. */
import { readFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'

export interface Figure {
  readonly what: string
  readonly value: number
  readonly unit: string
  /** The design's budget, where there is one. */
  readonly budget?: { readonly atMost?: number; readonly atLeast?: number }
}

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryGiB: number
  readonly kernel: string
  readonly node: string
  readonly workerd: string
}

export function machine(): Machine {
  const workerd = JSON.parse(
    readFileSync(new URL('../node_modules/workerd/package.json', import.meta.url), 'utf8'),
  ) as {
    version: string
  }
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.versions.node,
    workerd: workerd.version,
  }
}

export function printReport(title: string, figures: readonly Figure[], json: boolean): void {
  if (json) {
    process.stdout.write(`${JSON.stringify({ title, machine: machine(), figures })}\n`)
    return
  }
  const { cpu, cores, memoryGiB, kernel, node, workerd } = machine()
  process.stdout.write(
    `${title}\n${cores} × ${cpu}, ${memoryGiB} GiB, Linux ${kernel}, Node ${node}, workerd ${workerd}\n\n`,
  )
  const width = Math.max(...figures.map(({ what }) => what.length))
  for (const { what, value, unit, budget } of figures) {
    const number = (Number.isInteger(value) ? String(value) : value.toFixed(2)).padStart(12)
    process.stdout.write(`${what.padEnd(width)}  ${number} ${unit.padEnd(12)} ${budgetNote(value, budget)}\n`)
  }
}

function budgetNote(value: number, budget: Figure['budget']): string {
  if (budget?.atMost !== undefined) return `${value <= budget.atMost ? 'meets' : 'MISSES'} ≤ ${budget.atMost}`
  if (budget?.atLeast !== undefined)
    return `${value >= budget.atLeast ? 'meets' : 'MISSES'} ≥ ${budget.atLeast}`
  return ''
}
