/** migrations/*.sql, for the embedded Worker to apply (worker/embedded-migrations.ts). */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** In their order. */
export const readMigrations = (directory: string) =>
  readdirSync(directory)
    .filter((name) => name.endsWith('.sql'))
    .sort()
    .map((name) => ({ name, statements: splitStatements(readFileSync(join(directory, name), 'utf8')) }))

/** D1 takes one statement at a time. One ends with a semicolon at the end of a line; a trigger, with `END;` on its own. */
export function splitStatements(sql: string): string[] {
  const statements: string[] = []
  let lines: string[] = []
  for (const line of sql.split('\n').filter((text) => !/^\s*(--.*)?$/.test(text))) {
    lines.push(line)
    const isTrigger = /^\s*CREATE\s+(TEMP\s+|TEMPORARY\s+)?TRIGGER\b/i.test(lines[0] ?? '')
    if (isTrigger ? !/^\s*END;\s*$/i.test(line) : !/;\s*$/.test(line)) continue
    statements.push(lines.join('\n'))
    lines = []
  }
  if (lines.length > 0) throw new Error('a migration ends without a semicolon')
  return statements
}
