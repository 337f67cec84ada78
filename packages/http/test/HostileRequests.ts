/** Requests that no honest client sends, octet by octet. A character stands for one octet. */

/** Cookies of the applications in the tests: ours, the visitors' of `Csrf`, and those of the old libraries. */
export const names = ["session", "csrf", "connect.sid", "app", "_session"]

const token = "A".repeat(47)
const signed = `s%3Aid.${"A".repeat(43)}`
const seal = `Fe26.2*1*${"a".repeat(64)}*${"b".repeat(22)}*${"c".repeat(64)}**${"d".repeat(64)}*${"e".repeat(43)}`

/** Values of cookies: each is sent under every name. */
const values: Record<string, string> = {
  "nothing": "",
  "NUL": `a\0${token}`,
  "a carriage return": `a\rSet-Cookie: x=y`,
  "a line feed": `a\nX: y`,
  "every octet of Latin-1": String.fromCharCode(...Array.from({ length: 255 - 127 }, (_, i) => i + 128)),
  "an overlong UTF-8 sequence": "\xc0\xaf\xe0\x80\xaf\xf8\x88\x80\x80\x80",
  "half a surrogate pair in UTF-8": "\xed\xa0\x80",
  "half a surrogate pair, escaped": "%uD800%ED%A0%80\\ud800",
  "percent signs": "%%%25%2%zz%u0000%E0%A4%A%00%0d%0a",
  "an escaped line break": `${token}%0d%0aSet-Cookie:%20x=y`,
  "a quote without end": `"${token}`,
  "quotes within quotes": `"\\"${token}\\""`,
  "a name of the prototype": "__proto__",
  "JSON with a name of the prototype": "j:{\"__proto__\":{\"admin\":true}}",
  "deep JSON": `j:${"[".repeat(20_000)}`,
  "a signature without anything": "s:.",
  "many dots": `s:${".".repeat(50_000)}`,
  "a signed id of 100 kB": `s:${"i".repeat(100_000)}.${"A".repeat(43)}`,
  "a forged signature": signed,
  "a forged seal": seal,
  "a seal of other lengths": seal.replaceAll("*", "**"),
  "many stars": `Fe26.2${"*".repeat(50_000)}`,
  "a seal with an end that is no number": seal.replace("**", "*1e999*"),
  "a message of two parts": Buffer.from(`["${"A".repeat(2000)}","x"]`).toString("base64url"),
  "a message that is deep": Buffer.from("[".repeat(20_000)).toString("base64url"),
  "a message with --": `${"QQ".repeat(5000)}--${"A".repeat(44)}`,
  "100 kB": "A".repeat(100_000),
  "100 kB of blanks": `a${" \t".repeat(50_000)}b`,
  "100 kB of percent signs": "%".repeat(100_000),
  "100 kB of equal signs": "=".repeat(100_000)
}

const many = (count: number, make: (i: number) => string) => Array.from({ length: count }, (_, i) => make(i)).join("; ")

/** Whole `Cookie` headers. */
const cookies: Record<string, string> = {
  "10,000 cookies": many(10_000, (i) => `c${i}=${i}`),
  "only semicolons": ";".repeat(100_000),
  "only equal signs and semicolons": "=;".repeat(50_000),
  "only blanks": ` x ${" ".repeat(100_000)} y `,
  "names of the prototype": "__proto__=a; constructor=b; toString=c; hasOwnProperty=d; valueOf=e; __proto__.x=f",
  "names that are octets": String.fromCharCode(...Array.from({ length: 94 }, (_, i) => i + 33)),
  ...Object.fromEntries(names.flatMap((name) => [
    [`10,000 times ${name}`, many(10_000, () => `${name}=${token}`)],
    [`twice ${name}`, `${name}=${token}; ${name}=${seal}`],
    [
      `${name} in more parts than there are`,
      many(2000, (i) => `${name}.${i}=${token}`) + `; ${name}=${token}; ${name}._data_=x`
    ],
    [
      `${name} in parts with odd numbers`,
      `${name}.-1=a; ${name}.1e3=b; ${name}.=c; ${name}.01=d; ${name}.99999999999=e`
    ],
    ...Object.entries(values).map(([what, value]) => [`${name} with ${what}`, `theme=dark; ${name}=${value}`])
  ])),
  "the seed's data without its id": `_session._data_=${"A".repeat(50_000)}`,
  "the seed's data with a strange id": `_session=\xff; _session._data_=\xff--\xff`
}

/** One request as it is sent. */
export interface Hostile {
  readonly title: string
  readonly bytes: string
  /** Whether more would have to follow, and does not. */
  readonly unfinished?: boolean
}

const request = (method: string, target: string, headers: ReadonlyArray<string>, body = ""): string =>
  [`${method} ${target} HTTP/1.1`, ...headers, "Connection: close", "", body].join("\r\n")

const host = "Host: app.test"

const withCookies: ReadonlyArray<Hostile> = Object.entries(cookies).map(([title, value]) => ({
  title: `cookie: ${title}`,
  bytes: request("GET", "/me", [host, `Cookie: ${value}`])
}))

const cookieLines: ReadonlyArray<Hostile> = [
  {
    title: "cookie: 900 header lines",
    bytes: request("GET", "/me", [host, ...Array.from({ length: 900 }, (_, i) => `Cookie: session=${i}`)])
  },
  { title: "cookie: folded lines", bytes: request("GET", "/me", [host, "Cookie: session=a;", " b=c", "\tsession=d"]) },
  { title: "cookie: no colon", bytes: request("GET", "/me", [host, "Cookie session=a"]) },
  { title: "cookie: blanks before the colon", bytes: request("GET", "/me", [host, "Cookie : session=a"]) }
]

// Node hands these on; it refuses control characters.
const odd = "\x80\xa0\xc3\xed\xa0\x80\xff"
const long = "x".repeat(100_000)

const headers: ReadonlyArray<Hostile> = Object.entries({
  "a host that is none": ["Host: [", "Accept: text/html"],
  "a host with a path": ["Host: a/b?c#d@e"],
  "a host of odd octets": [`Host: ${odd}`],
  "an empty host": ["Host:"],
  "a host of control characters": ["Host: \x01\x7f"],
  "two hosts": [host, "Host: evil.test"],
  "no host": [],
  "a host of 100 kB": [`Host: ${long}`],
  "a host with a line break": ["Host: a\rb"],
  "forwarded headers": [
    host,
    `X-Forwarded-For: ${many(5000, (i) => `10.0.0.${i}`)}`,
    `X-Forwarded-For: ${odd}`,
    "X-Forwarded-Proto: javascript",
    "X-Forwarded-Host: [",
    "Forwarded: for=\"[\";proto=\xff"
  ],
  "an origin that is none": [host, "Origin: http://["],
  "an origin of 100 kB": [host, `Origin: http://${long}`],
  "an origin of odd octets": [host, `Origin: ${odd}`],
  "two origins": [host, "Origin: null", "Origin: http://app.test"],
  "a strange Sec-Fetch-Site": [host, `Sec-Fetch-Site: ${odd}`, `Sec-Fetch-Mode: ${long}`, `Sec-Purpose: ${long}`],
  "a purpose of commas": [host, `Sec-Purpose: ${",;".repeat(40_000)}`, `Purpose: ${" ".repeat(50_000)}x`],
  "a user agent of 100 kB": [host, `User-Agent: ${long}`],
  "a user agent of odd octets": [host, `User-Agent: ${odd}`],
  "no user agent": [host, "User-Agent:"],
  "an accept header of commas": [host, `Accept: ${" ,\t".repeat(30_000)}`],
  "an accept header of halves": [host, `Accept: ${"text/html,application/xhtml+xm, ".repeat(3000)}`],
  "a token of 100 kB": [host, `X-CSRF-Token: ${long}`],
  "a token of odd octets": [host, `X-CSRF-Token: ${odd.repeat(15)}\x80\x81`],
  "two tokens": [host, `X-CSRF-Token: ${"A".repeat(77)}`, `X-CSRF-Token: ${"B".repeat(77)}`],
  "an upgrade to nothing": [host, "Upgrade: websocket", "Connection: Upgrade", `Sec-WebSocket-Key: ${odd}`],
  "names of the prototype": [host, "__proto__: x", "constructor: y", "toString: z"],
  "900 headers": [host, ...Array.from({ length: 900 }, (_, i) => `X-${i}: ${i}`)],
  "a range and conditions": [host, "Range: bytes=-1,,", "If-None-Match: \"", "If-Modified-Since: never", "Expect: x"]
}).flatMap(([title, lines]) => [
  { title: `headers: ${title}, read`, bytes: request("GET", "/me", lines) },
  { title: `headers: ${title}, write`, bytes: request("POST", "/inc", [...lines, "Content-Length: 0"]) }
])

const targets: ReadonlyArray<Hostile> = [
  "/%",
  "/%00",
  "/%ff%fe",
  "/%uD800",
  "/\xff\xfe",
  "/me?text=%ED%A0%80&as=%",
  "/me?as=%uD800%00",
  "//evil.test/me",
  "//",
  "///",
  "/\\evil.test",
  "/me/../me",
  "/__proto__",
  "/constructor",
  "/.",
  "/%2e%2e/%2e%2e/etc/passwd",
  "/a;b=c",
  "http://[/me",
  "http://app.test/me",
  "http://",
  "javascript:alert(1)",
  "*",
  "me",
  `/${"%61".repeat(20_000)}`,
  `/${"/".repeat(50_000)}`,
  `/${"../".repeat(20_000)}`,
  `/me?${"a=b&".repeat(20_000)}`,
  `/sign-in?redirect_to=${"//evil.test%0d%0a".repeat(2000)}`
].flatMap((target) => [
  { title: `target: ${target.slice(0, 40)}`, bytes: request("GET", target, [host, "Accept: text/html"]) },
  { title: `target: POST ${target.slice(0, 40)}`, bytes: request("POST", target, [host, "Content-Length: 0"]) }
])

const methods: ReadonlyArray<Hostile> = ["get", "PROPFIND", "TRACE", "CONNECT", "OPTIONS", "QUERY", "G\xffT", "HEAD"]
  .flatMap((method) =>
    ["/me", "*", "app.test:443"].map((target) => ({
      title: `method: ${method} ${target}`,
      bytes: request(method, target, [host]),
      unfinished: method === "CONNECT"
    }))
  )

const form = "application/x-www-form-urlencoded"
const json = "application/json"
const fill = (text: string, octets: number) => text.repeat(Math.ceil(octets / text.length))

const bodies: ReadonlyArray<Hostile> = ([
  ["no field", form, "a=b"],
  ["an empty token", form, "_csrf="],
  ["10,000 tokens", form, fill("_csrf=x&", 80_000)],
  ["a token of 900 kB", form, `_csrf=${"x".repeat(900_000)}`],
  ["a field name of 900 kB", form, "x".repeat(900_000)],
  ["300,000 fields", form, fill("a&", 600_000)],
  ["more than 1 MiB", form, `_csrf=${"x".repeat(2_000_000)}`],
  ["broken escapes", form, "_csrf=%&%=%zz&%uD800=%ff&_csrf%00=\0"],
  ["names of the prototype", form, "__proto__=a&constructor[prototype][x]=b&_csrf[]=c&_csrf[a]=d"],
  ["octets that are no UTF-8", form, "_csrf=\xff\xfe\xed\xa0\x80"],
  ["another charset", `${form}; charset=utf-16`, "\xff\xfe_\0c\0"],
  ["a charset of odd octets", `${form}; charset=${odd}`, "_csrf=x"],
  ["a type of 10 kB", `${form}${";".repeat(10_000)}`, "_csrf=x"],
  ["a type of blanks", `${form}${" ".repeat(60_000)}x`, "_csrf=x"],
  ["two types", `${form}, ${json}`, "_csrf=x"],
  ["multipart without a boundary", "multipart/form-data", "--x\r\n\r\n"],
  [
    "multipart that ends early",
    "multipart/form-data; boundary=x",
    "--x\r\nContent-Disposition: form-data; name=\"_csrf\""
  ],
  ["no JSON", json, "{"],
  ["deep JSON", json, `{"text":${"[".repeat(200_000)}`],
  ["deep JSON that ends", json, `{"text":${"[".repeat(5000)}${"]".repeat(5000)}}`],
  ["JSON with names of the prototype", json, "{\"__proto__\":{\"text\":\"a\"},\"constructor\":{\"prototype\":{}}}"],
  ["JSON with half a surrogate pair", json, "{\"text\":\"\\ud800\"}"],
  ["JSON with NUL", json, "{\"text\":\"\\u0000\"}"],
  ["JSON with octets that are no UTF-8", json, "{\"text\":\"\xff\"}"],
  ["JSON with a number beyond all numbers", json, "{\"text\":1e999}"],
  ["JSON with a text of 900 kB", json, `{"text":"${"x".repeat(900_000)}"}`],
  ["JSON with 100,000 names", json, `{${Array.from({ length: 100_000 }, (_, i) => `"k${i}":1`).join()}}`],
  ["JSON in UTF-16", `${json}; charset=utf-16`, "\xff\xfe{\0}\0"],
  ["JSON said to be compressed", `${json}\r\nContent-Encoding: gzip`, "{}"],
  ["no type at all", "", "_csrf=x"]
] as const).map(([title, type, body]) => ({
  title: `body: ${title}`,
  bytes: request("POST", "/note", [host, `Content-Type: ${type}`, `Content-Length: ${body.length}`], body)
}))

const framing: ReadonlyArray<Hostile> = ([
  ["that ends early", ["Content-Length: 1000"], "_csrf=x"],
  ["with a negative length", ["Content-Length: -1"], "_csrf=x"],
  ["with two lengths", ["Content-Length: 1", "Content-Length: 2"], "ab"],
  ["with a length that is no number", ["Content-Length: 0x10"], "ab"],
  ["with a length beyond all numbers", ["Content-Length: 99999999999999999999"], "ab"],
  ["with length and chunks", ["Content-Length: 3", "Transfer-Encoding: chunked"], "0\r\n\r\n"],
  ["with a chunk of no size", ["Transfer-Encoding: chunked"], "zz\r\nabc"],
  ["with a chunk of a huge size", ["Transfer-Encoding: chunked"], "fffffffffffffff\r\nabc"],
  ["with a chunk that ends early", ["Transfer-Encoding: chunked"], "5\r\nab"],
  ["with an extension of 100 kB", ["Transfer-Encoding: chunked"], `1;${long}\r\na\r\n0\r\n\r\n`],
  [
    "with strange trailers",
    ["Transfer-Encoding: chunked", "Trailer: Cookie"],
    "0\r\nCookie: session=a\r\n__proto__: b\r\n\r\n"
  ],
  ["with an encoding that is none", ["Transfer-Encoding: xchunked"], "abc"],
  ["with an encoding and its end", ["Transfer-Encoding: gzip, chunked"], "0\r\n\r\n"]
] as const).flatMap(([title, lines, body]) =>
  [form, json].map((type) => ({
    title: `body ${title}, ${type.slice(12)}`,
    bytes: request("POST", "/note", [host, `Content-Type: ${type}`, ...lines], body),
    unfinished: true
  }))
)

const nothings: ReadonlyArray<Hostile> = [
  { title: "no octet", bytes: "" },
  { title: "line breaks", bytes: "\r\n".repeat(1000) },
  { title: "half a request line", bytes: "GET /me HT" },
  { title: "half a header", bytes: "GET /me HTTP/1.1\r\nHost: a\r\nCookie: sess" },
  { title: "HTTP/0.9", bytes: "GET /me\r\n" },
  { title: "HTTP/2 in the clear", bytes: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" },
  { title: "a hand-shake of TLS", bytes: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" },
  { title: "octets", bytes: String.fromCharCode(...Array.from({ length: 256 }, (_, i) => i)) }
].map((hostile) => ({ ...hostile, unfinished: true }))

export const requests: ReadonlyArray<Hostile> = [
  ...withCookies,
  ...cookieLines,
  ...headers,
  ...targets,
  ...methods,
  ...bodies,
  ...framing,
  ...nothings
]
