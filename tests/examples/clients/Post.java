// POST a body NUMBER times; one line each: the answer's code, or the error.
import java.io.ByteArrayInputStream;
import java.io.FileInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

public class Post {
    public static void main(String[] args) throws Exception {
        String url = args[0], authority = args[1], token = args[2], version = args[5];
        byte[] body = new byte[Integer.parseInt(args[3])];
        HttpClient client =
                HttpClient.newBuilder()
                        .sslContext(trusting(authority))
                        .version(HttpClient.Version.valueOf(version))
                        .build();
        for (int i = 0; i < Integer.parseInt(args[4]); i++) {
            BodyPublisher bytes = BodyPublishers.ofByteArray(body);
            if (args[6].equals("unknown")) {
                bytes = BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(body));
            }
            HttpRequest request =
                    HttpRequest.newBuilder(URI.create(url))
                            .header("Authorization", "Bearer " + token)
                            .header("Content-Type", "application/json")
                            .timeout(Duration.ofSeconds(60))
                            .POST(bytes)
                            .build();
            try {
                var answer = client.send(request, BodyHandlers.ofString());
                String reason = answer.headers().firstValue("daypass-reason").orElse("");
                int read = answer.body().contains("\"kind\":\"Status\"") ? 1 : 0;
                System.out.println(answer.statusCode() + " " + reason + " " + read);
            } catch (Exception error) {
                System.out.println(String.valueOf(error).split("\n")[0]);
            }
        }
        System.exit(0);
    }

    static SSLContext trusting(String file) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (FileInputStream pem = new FileInputStream(file)) {
            int number = 0;
            for (var each : CertificateFactory.getInstance("X.509").generateCertificates(pem)) {
                store.setCertificateEntry("authority-" + number++, each);
            }
        }
        TrustManagerFactory managers =
                TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        managers.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, managers.getTrustManagers(), null);
        return context;
    }
}
