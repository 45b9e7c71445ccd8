import {build, type BuildOptions} from 'esbuild'

/** A file and all that it imports, as one script. */
export async function bundle(file: string, options: BuildOptions = {}): Promise<string> {
  const result = await build({
    entryPoints: [new URL(`../../${file}`, import.meta.url).pathname],
    bundle: true,
    format: 'esm',
    target: 'es2022',
    write: false,
    ...options,
  })
  return result.outputFiles?.[0]?.text ?? ''
}
