/**
 * What wrangler.toml says of the Worker, so that `claw up` and a deployment cannot drift apart. A kind of setting that is not known here
 * is an error: the embedded gateway must not run without a binding that the deployed one has.
 */
import { readFileSync } from 'node:fs'
import { parse } from 'smol-toml'
import * as z from 'zod'
import { WRANGLER_CONFIG } from './build-output.ts'

const WorkerConfig = z
  .strictObject({
    name: z.string(),
    // What worker/embedded.ts wraps.
    main: z.literal('worker/index.ts'),
    compatibility_date: z.string(),
    compatibility_flags: z.array(z.string()).default([]),
    vars: z.record(z.string(), z.string()),
    triggers: z.strictObject({ crons: z.tuple([z.literal('* * * * *')]) }),
    exports: z.record(
      z.string(),
      z.strictObject({ type: z.literal('durable-object'), storage: z.literal('sqlite') }),
    ),
    durable_objects: z.strictObject({
      bindings: z.array(z.strictObject({ name: z.string(), class_name: z.string() })),
    }),
    d1_databases: z.tuple([
      z.strictObject({
        binding: z.string(),
        database_name: z.string(),
        database_id: z.string(),
        // What the build takes them from.
        migrations_dir: z.literal('migrations'),
      }),
    ]),
    kv_namespaces: z.array(z.strictObject({ binding: z.string(), id: z.string() })),
    workers_dev: z.boolean(),
    preview_urls: z.boolean(),
    observability: z.unknown(),
  })
  .readonly()
export type WorkerConfig = z.infer<typeof WorkerConfig>

export const readWorkerConfig = (): WorkerConfig =>
  WorkerConfig.parse(parse(readFileSync(WRANGLER_CONFIG, 'utf8')))
