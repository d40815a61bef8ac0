#!/bin/sh
# Everything in a row: data set, training, merge, a question to the merged model.
#   sh examples/whole_path.sh
. "$(dirname "$0")/common.sh"
sh "$here/upload_dataset.sh"
job=$(sh "$here/train_yaml.sh" | first id)
echo "training: $job"
wait_for "/v1/fine_tuning/jobs/$job"
sh "$here/merge.sh"
sh "$here/chat.sh" output/sample '什么是毛利率？'
