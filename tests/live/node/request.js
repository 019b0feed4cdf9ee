// The page's Node example; address, key and metadata come from the environment.
const openai = require('openai');

async function main() {
  const client = new openai.OpenAI({ apiKey: process.env.KEY, baseURL: process.env.BASE_URL });
  const response = await client.chat.completions.create({
    model: 'gpt-3.5-turbo',
    messages: [{ role: 'user', content: 'this is a test request, write a short poem' }],
    max_tokens: 16,
    metadata: JSON.parse(process.env.METADATA),
  });
  console.log(JSON.stringify({ id: response.id, usage: response.usage }));
}

main().catch((error) => { console.error(error); process.exit(1); });
