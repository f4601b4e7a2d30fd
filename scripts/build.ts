/** `npm run build`, which `npm ci` runs, too: what bin/ and `claw up` run. */
import { buildPrograms } from './programs.ts'

await buildPrograms()
