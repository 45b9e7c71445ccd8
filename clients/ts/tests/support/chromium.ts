import {once} from 'node:events'
import {createServer} from 'node:http'
import type {AddressInfo} from 'node:net'

import {chromium, type BrowserContext, type Page} from 'playwright-core'
import {onTestFinished} from 'vitest'

import {PATIENCE_MS} from './cluster.js'

/** Why there is no browser here, if there is none. */
export const isMissing = Boolean(process.env['NO_BROWSER'])

/** Files of a web server, by path. Text is a script, unless it begins as HTML does. */
export type Files = Record<string, string>

/** A browser, and a web server on a port of its own, and so of another origin than every node. */
export class Chromium {
  readonly #context: BrowserContext
  readonly url: string

  private constructor(context: BrowserContext, url: string) {
    this.#context = context
    this.url = url
  }

  static async start(files: Files): Promise<Chromium> {
    const server = createServer((request, response) => {
      const file = files[request.url ?? ''] ?? (request.url === '/' ? '<!doctype html><title>empty</title>' : undefined)
      if (file === undefined) return void response.writeHead(404).end()
      const type = file.startsWith('<') ? 'text/html' : 'text/javascript'
      response.writeHead(200, {'Content-Type': `${type}; charset=utf-8`}).end(file)
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const args = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update']
    const browser = await chromium.launch({executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium', args})
    onTestFinished(async () => {
      await browser.close()
      server.closeAllConnections()
      server.close()
    })
    const context = await browser.newContext()
    context.setDefaultTimeout(PATIENCE_MS)
    return new Chromium(context, `http://localhost:${(server.address() as AddressInfo).port}`)
  }

  /** A tab. Its scripts are modules. */
  async open(path = '/'): Promise<Page> {
    const page = await this.#context.newPage()
    await page.goto(this.url + path)
    return page
  }

  /** Without a network, or with one again. */
  setOffline(isOffline: boolean): Promise<void> {
    return this.#context.setOffline(isOffline)
  }
}
