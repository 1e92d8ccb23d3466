// The JDK's HttpClient: an echo over WebSocket, and a publication by POST. Run as `java Client.java MAIN CONTROL`.

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.WebSocket;
import java.nio.ByteBuffer;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

public class Client implements WebSocket.Listener {
    private final BlockingQueue<String> events = new LinkedBlockingQueue<>();
    private final StringBuilder text = new StringBuilder();

    public static void main(String[] arguments) throws Exception {
        String main = arguments[0];
        String control = arguments[1];
        HttpClient http = HttpClient.newHttpClient();

        Client echo = new Client();
        WebSocket ws = http.newWebSocketBuilder().subprotocols("a", "b")
                .buildAsync(URI.create("ws://" + main + "/echo"), echo).join();
        expect("a", ws.getSubprotocol());
        ws.sendText("in two ", false).join();
        ws.sendText("frames", true).join();
        echo.expectNext("text in two frames");
        ws.sendBinary(ByteBuffer.wrap(new byte[] {1, 2, 3}), true).join();
        echo.expectNext("binary 3");
        ws.sendPing(ByteBuffer.wrap(new byte[] {9})).join();
        echo.expectNext("pong 1");
        ws.sendClose(4567, "done").join();
        echo.expectNext("close 4567");
        System.out.println("ok: echo, pong, close");

        Client reader = new Client();
        WebSocket subscriber = http.newWebSocketBuilder()
                .buildAsync(URI.create("ws://" + main + "/ch/java"), reader).join();
        HttpRequest publication = HttpRequest.newBuilder(URI.create("http://" + control + "/ch/java"))
                .POST(HttpRequest.BodyPublishers.ofString("news from Java")).build();
        HttpResponse<String> answer = http.send(publication, HttpResponse.BodyHandlers.ofString());
        expect(200, answer.statusCode());
        reader.expectNext("text news from Java");
        subscriber.abort();
        System.out.println("ok: a publication arrives");
        System.out.println("done: java " + System.getProperty("java.version"));
        System.exit(0);
    }

    private void expectNext(String expected) throws Exception {
        expect(expected, events.poll(30, TimeUnit.SECONDS));
    }

    private static void expect(Object expected, Object got) {
        if (!expected.equals(got)) {
            System.err.println("expected " + expected + ", got " + got);
            System.exit(1);
        }
    }

    @Override
    public CompletionStage<?> onText(WebSocket ws, CharSequence part, boolean last) {
        text.append(part);
        if (last) {
            events.add("text " + text);
            text.setLength(0);
        }
        ws.request(1);
        return null;
    }

    @Override
    public CompletionStage<?> onBinary(WebSocket ws, ByteBuffer data, boolean last) {
        events.add("binary " + data.remaining());
        ws.request(1);
        return null;
    }

    @Override
    public CompletionStage<?> onPong(WebSocket ws, ByteBuffer data) {
        events.add("pong " + data.remaining());
        ws.request(1);
        return null;
    }

    @Override
    public CompletionStage<?> onClose(WebSocket ws, int code, String reason) {
        events.add("close " + code);
        return null;
    }

    @Override
    public void onError(WebSocket ws, Throwable error) {
        events.add("error " + error);
    }
}
