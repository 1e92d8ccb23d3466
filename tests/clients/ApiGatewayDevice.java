// The state machine of Alibaba Cloud's Java library for devices, written from its description, on the JDK's WebSocket:
// open, RG, RO, REGISTER (again after each RO, once it has succeeded), H1 at the interval that RO has told, HO compared
// with the credential, NF answered by NO; at OS or CR it waits, closes with 1000 "Reconnect" and begins again. What it does
// not understand ends it, as it calls the library's error callback (508).
// Run as `java ApiGatewayDevice.java WS KEY SECRET LIVES WAIT_MS`.

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.Map;
import java.util.TreeMap;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

public class ApiGatewayDevice implements WebSocket.Listener {
    private static final Pattern STATUS = Pattern.compile("^\\{\"status\":(\\d+),");
    private static final Pattern SEQ = Pattern.compile("\"x-ca-seq\":\"(\\d+)\"");
    private static final HttpClient HTTP = HttpClient.newHttpClient();

    private final URI url;
    private final String key;
    private final String secret;
    private final String device;
    private final long waitMs;
    private final int lives;
    private final ScheduledExecutorService timer = Executors.newScheduledThreadPool(2);
    private final AtomicInteger seq = new AtomicInteger();
    private final Map<Integer, CompletableFuture<Integer>> calls = new ConcurrentHashMap<>();
    private final AtomicInteger beats = new AtomicInteger();
    private final AtomicInteger notified = new AtomicInteger();
    private final AtomicInteger registrations = new AtomicInteger();
    private final CompletableFuture<Void> over = new CompletableFuture<>();
    private final StringBuilder text = new StringBuilder();
    private final Object sending = new Object();
    private volatile boolean isRegistered;
    private volatile String credential = "";
    private volatile ScheduledFuture<?> heartbeat;
    private volatile CompletableFuture<Void> greeted;
    private volatile WebSocket socket;
    private int life;

    public static void main(String[] arguments) throws Exception {
        ApiGatewayDevice device = new ApiGatewayDevice(arguments);
        device.open();
        device.over.get(120, TimeUnit.SECONDS);
        System.out.println("done: java " + System.getProperty("java.version"));
        System.exit(0);
    }

    private ApiGatewayDevice(String[] arguments) {
        url = URI.create(arguments[0]);
        key = arguments[1];
        secret = arguments[2];
        lives = Integer.parseInt(arguments[3]);
        waitMs = Long.parseLong(arguments[4]);
        device = UUID.randomUUID().toString().substring(0, 8) + "@" + key;
    }

    private void open() {
        life++;
        text.setLength(0);
        greeted = new CompletableFuture<>();
        socket = HTTP.newWebSocketBuilder().buildAsync(url, this).join();
        send("RG#" + device);
    }

    /** The library's error callback. */
    private void fail(String why) {
        System.err.println("error callback: " + why);
        System.exit(1);
    }

    private void send(String message) {
        synchronized (sending) {
            socket.sendText(message, true).join();
        }
    }

    private void hear(String message) throws Exception {
        if (message.isEmpty()) {
            return;
        }
        if (message.length() > 3 && message.startsWith("RO#")) {
            String[] parts = message.split("#");
            credential = parts[1];
            long interval = Long.parseLong(parts[2]);
            heartbeat = timer.scheduleAtFixedRate(() -> send("H1"), interval, interval, TimeUnit.MILLISECONDS);
            if (life == 1 || isRegistered) {
                timer.execute(this::register);
            }
        } else if (message.startsWith("RF#")) {
            fail(message.split("#")[1]);
        } else if (message.startsWith("HO#")) {
            beats.incrementAndGet();
            if (!message.substring(3).equalsIgnoreCase(credential)) {
                fail("another credential: " + message + ", not " + credential);
            }
        } else if (message.startsWith("NF#")) {
            if (!message.equals("NF#welcome, " + device)) {
                fail(message);
            }
            notified.incrementAndGet();
            send("NO");
            greeted.complete(null);
        } else if (message.equals("OS") || message.equals("CR")) {
            heartbeat.cancel(false);
            timer.schedule(this::reconnect, waitMs, TimeUnit.MILLISECONDS);
        } else if (message.length() > 3 && message.charAt(3) == '#') {
            return;
        } else {
            Matcher status = STATUS.matcher(message);
            Matcher number = SEQ.matcher(message);
            if (!status.find() || !number.find()) {
                fail("508, it is no answer: " + message);
            }
            CompletableFuture<Integer> call = calls.remove(Integer.parseInt(number.group(1)));
            if (call == null) {
                fail("508, nobody has asked: " + message);
            }
            call.complete(Integer.parseInt(status.group(1)));
        }
    }

    private void register() {
        call("/register", "REGISTER", "username=xiaoming&password=123456789");
        isRegistered = true;
        registrations.incrementAndGet();
        call("/api", null, "");
        System.out.println("ok: life " + life + " is registered");
        if (life > lives) {
            // The back end greets a device once it is registered; that is waited for.
            greeted.join();
            call("/unregister", "UNREGISTER", "");
            heartbeat.cancel(false);
            System.out.println("ok: " + registrations + " registrations, " + notified + " notifications, " + beats
                    + " heartbeats");
            socket.sendClose(1000, "").join();
            over.complete(null);
        }
    }

    private void reconnect() {
        socket.sendClose(1000, "Reconnect").join();
        open();
    }

    private void call(String path, String kind, String form) {
        try {
            int number = seq.getAndIncrement();
            CompletableFuture<Integer> answer = new CompletableFuture<>();
            calls.put(number, answer);
            send(request(number, path, kind, form));
            int status = answer.get(10, TimeUnit.SECONDS);
            if (status != 200) {
                fail(path + " is answered with " + status);
            }
        } catch (Exception error) {
            fail(path + ": " + error);
        }
    }

    private String request(int number, String path, String kind, String form) throws Exception {
        TreeMap<String, String> headers = new TreeMap<>();
        headers.put("x-ca-key", key);
        headers.put("x-ca-nonce", UUID.randomUUID().toString());
        headers.put("x-ca-seq", String.valueOf(number));
        headers.put("x-ca-timestamp", String.valueOf(System.currentTimeMillis()));
        if (kind != null) {
            headers.put("x-ca-websocket_api_type", kind);
        }
        String accept = "application/json; charset=utf-8";
        String type = "application/x-www-form-urlencoded; charset=utf-8";
        String date = "Wed, 09 May 2018 13:30:29 GMT";
        StringBuilder signed = new StringBuilder("POST\n" + accept + "\n\n" + type + "\n" + date + "\n");
        headers.forEach((name, value) -> signed.append(name).append(':').append(value).append('\n'));
        signed.append(path);
        if (!form.isEmpty()) {
            String[] pairs = form.split("&");
            java.util.Arrays.sort(pairs);
            signed.append('?').append(String.join("&", pairs));
        }
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(secret.getBytes(StandardCharsets.UTF_8), "HmacSHA256"));
        byte[] digest = mac.doFinal(signed.toString().getBytes(StandardCharsets.UTF_8));
        String names = String.join(",", headers.keySet());
        headers.put("x-ca-signature", Base64.getEncoder().encodeToString(digest));
        headers.put("x-ca-signature-headers", names);
        headers.put("accept", accept);
        headers.put("content-type", type);
        headers.put("date", date);
        headers.put("host", "api.example.com");
        headers.put("ca_version", "1");
        StringBuilder json = new StringBuilder("{\"method\":\"POST\",\"host\":\"api.example.com\",\"path\":\"" + path
                + "\",\"querys\":{},\"headers\":{");
        String separator = "";
        for (Map.Entry<String, String> header : headers.entrySet()) {
            json.append(separator).append('"').append(header.getKey()).append("\":[\"").append(header.getValue())
                    .append("\"]");
            separator = ",";
        }
        return json.append("},\"isBase64\":0,\"body\":\"").append(form).append("\"}").toString();
    }

    @Override
    public CompletionStage<?> onText(WebSocket ws, CharSequence part, boolean last) {
        text.append(part);
        if (last) {
            String whole = text.toString();
            text.setLength(0);
            try {
                hear(whole);
            } catch (Exception error) {
                fail(error.toString());
            }
        }
        ws.request(1);
        return null;
    }

    @Override
    public void onError(WebSocket ws, Throwable error) {
        if (ws == socket && !over.isDone()) {
            fail(error.toString());
        }
    }
}
