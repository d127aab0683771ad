# POST a body NUMBER times with curl; one line each: the answer's code, or the error.
url=$1 authority=$2 token=$3 size=$4 times=$5 version=$6 length=$7
port=${url#https://*:}
port=${port%%/*}
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
head -c "$size" /dev/zero >"$folder/body"
options=(--silent --show-error --max-time 60 --cacert "$authority"
  --resolve "ekf.example.com:$port:127.0.0.1"
  --header "Authorization: Bearer $token" --header "Content-Type: application/json")
[ "$version" = HTTP_2 ] || options+=(--http1.1)
if [ "$length" = known ]; then
  options+=(--data-binary "@$folder/body")
else
  options+=(--request POST --upload-file -)
fi
for _ in $(seq "$times"); do
  if curl "${options[@]}" --dump-header "$folder/headers" --output "$folder/answer" "$url" \
    <"$folder/body" 2>"$folder/error"; then
    reason=$(sed -n 's/^daypass-reason: \([a-z-]*\).*/\1/p' "$folder/headers")
    code=$(sed -n 's/^HTTP[^ ]* \([2-5][0-9]*\).*/\1/p' "$folder/headers")
    echo "$code $reason $(grep -c '"kind":"Status"' "$folder/answer")"
  else
    head -n 1 "$folder/error"
  fi
done
