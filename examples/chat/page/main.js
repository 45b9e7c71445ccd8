import {startChat} from './chat.js'
import {ask, byId} from './dom.js'

const form = byId('sign-in')

async function enter({user, brokers}) {
  byId('door').hidden = true
  byId('chat').hidden = false
  await startChat(user, brokers)
}

form.addEventListener('submit', async (event) => {
  event.preventDefault()
  const refusal = form.querySelector('.refusal')
  const {name, password} = Object.fromEntries(new FormData(form))
  try {
    refusal.textContent = ''
    await enter(await ask('POST', `/${event.submitter?.value ?? 'sign-in'}`, {name, password}))
  } catch (error) {
    refusal.textContent = error.message
  }
})

byId('sign-out').addEventListener('click', async () => {
  await ask('POST', '/sign-out', {})
  location.reload()
})

ask('GET', '/session').then(enter, () => (byId('door').hidden = false))
