/** The direction of dependencies (docs/architecture.md): which top-level folder may import from which. */
import { globSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { ROOT } from './run.ts'

/** Node modules that only a host has; the contract and the primitives must also run at the edge. */
const EDGE = ['protocol', 'crypto', 'secrets', 'relay', 'worker', 'durable-objects']

const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  protocol: [],
  crypto: ['protocol'],
  secrets: ['protocol', 'crypto'],
  relay: ['protocol', 'crypto'],
  'durable-objects': ['protocol', 'crypto', 'secrets', 'relay'],
  worker: ['protocol', 'crypto', 'secrets', 'relay', 'durable-objects'],
  host: ['protocol', 'crypto'],
  agent: ['protocol', 'crypto', 'host'],
  cli: ['protocol', 'crypto', 'host', 'relay'],
}

export function importViolations(): string[] {
  const violations: string[] = []
  for (const [folder, allowed] of Object.entries(MAY_IMPORT)) {
    for (const file of globSync(`${folder}/**/*.ts`, { cwd: ROOT })) {
      const source = readFileSync(join(ROOT, file), 'utf8')
      for (const [, specifier = ''] of source.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)) {
        if (EDGE.includes(folder) && specifier.startsWith('node:'))
          violations.push(`${file}: ${specifier} is not at the edge`)
        if (!specifier.startsWith('.')) continue
        const target = normalize(join(dirname(file), specifier)).split('/')[0] ?? ''
        if (target !== folder && !allowed.includes(target))
          violations.push(`${file}: ${folder} must not import ${target}`)
      }
    }
  }
  return violations
}
