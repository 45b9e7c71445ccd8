import {StrictMode, useState} from 'react'
import {createRoot} from 'react-dom/client'

import {createClient} from '../../src/index.js'
import {ReplProvider, useConnection, useTopic} from '../../src/react/index.js'

function Room({topic}: {topic: string}) {
  const {messages, isReady, gap, publish} = useTopic(topic, {keep: 3})
  return (
    <section>
      <ol>
        {messages.map(({id, value}) => (
          <li key={id}>{String(value)}</li>
        ))}
      </ol>
      <p id="ready">{String(isReady)}</p>
      <p id="gap">{gap?.reason}</p>
      <button id="publish" onClick={() => void publish(`from ${topic}`)} />
    </section>
  )
}

function App() {
  const [topic, setTopic] = useState<string | undefined>('a')
  Object.assign(globalThis, {setTopic})
  return (
    <>
      <p id="state">{useConnection().kind}</p>
      {topic && <Room topic={topic} />}
    </>
  )
}

/** Shows a topic, of which there is a broker at this address. */
Object.assign(globalThis, {
  start(url: string) {
    const client = createClient({url})
    createRoot(document.body).render(
      <StrictMode>
        <ReplProvider client={client}>
          <App />
        </ReplProvider>
      </StrictMode>,
    )
  },
})
