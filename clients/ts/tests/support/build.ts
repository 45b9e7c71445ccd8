import {execFileSync} from 'node:child_process'

/** Builds the package once, before any test: some test what is published. */
export default function build(): void {
  execFileSync('npm', ['run', '--silent', 'build'], {cwd: new URL('../..', import.meta.url).pathname, stdio: 'inherit'})
}
