-- The features of conf/, for Spark 4.3, with spark.sql.join.asofJoin.enabled and spark.sql.ansi.enabled.
-- Tables have the columns and types of conf/contract; a time is a timestamp without a zone, in UTC.
WITH `_table_trips` AS (
  SELECT `number`, `station`, `starts`, `delay`, (CASE WHEN (`number` % NULLIF(CAST(3 AS BIGINT), 0)) <> 0 AND (`number` < 0) <> (CAST(3 AS BIGINT) < 0) THEN (`number` % NULLIF(CAST(3 AS BIGINT), 0)) + CAST(3 AS BIGINT) ELSE (`number` % NULLIF(CAST(3 AS BIGINT), 0)) END) AS `line` FROM `trips`
),
`_requests` AS (
  SELECT * FROM (SELECT *, count(*) OVER (PARTITION BY `number`) AS `_same`
    FROM (SELECT *, timestampadd(MICROSECOND, -7200000000, `event_time`) AS `_now`, CASE WHEN `event_time` >= CAST('2013-03-01 05:00:00' AS TIMESTAMP_NTZ) AND `event_time` < CAST('2013-03-09 05:00:00' AS TIMESTAMP_NTZ) THEN 'train' WHEN `event_time` >= CAST('2013-03-10 05:00:00' AS TIMESTAMP_NTZ) AND `event_time` < CAST('2013-03-11 04:00:00' AS TIMESTAMP_NTZ) THEN 'holdout' END AS `_part`
      FROM (SELECT *, `starts` AS `event_time`, (`delay` > CAST(15 AS BIGINT)) AS `late` FROM `_table_trips`) AS observed) AS labelled
    WHERE `_part` IS NOT NULL AND `late` IS NOT NULL) AS counted
  WHERE CASE WHEN `_same` > 1 THEN raise_error(concat('data.observations: several rows of trips have the same number; remove all but one of ', CAST(`_same` AS STRING))) ELSE TRUE END
),
`_stream_done` AS (
  SELECT * FROM (SELECT *, CASE WHEN `_available_at` > `event_time` THEN `_available_at` ELSE `event_time` END AS `_known`, count(*) OVER (PARTITION BY `number`) AS `_same`
    FROM (SELECT *, timestampadd(MICROSECOND, (`delay` * 60000000), `event_time`) AS `_available_at` FROM (SELECT *, `starts` AS `event_time` FROM `_table_trips`) AS happened) AS became
    WHERE `event_time` IS NOT NULL AND `_available_at` IS NOT NULL) AS counted
  WHERE CASE WHEN `_same` > 1 THEN raise_error(concat('features.views.last, recent: events of trips have no total order: several rows have the same number; remove all but one of ', CAST(`_same` AS STRING))) ELSE TRUE END
),
`_placed_last` AS (
  SELECT *, row_number() OVER (PARTITION BY `station` ORDER BY `event_time`, `_known`, `number` NULLS FIRST) AS `_place_last` FROM (SELECT `station`, `number`, `event_time`, `_known`, `delay` AS `_value0`, `event_time` AS `_value1` FROM `_stream_done` WHERE `station` IS NOT NULL) AS event
),
`_running_last` AS (
  SELECT *, max(`_place_last`) OVER (PARTITION BY `station` ORDER BY `_known`, `_place_last` ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS _last,
    max(`_place_last`) OVER (PARTITION BY `station` ORDER BY `_known`, `_place_last` ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS _before
  FROM `_placed_last`
),
`_state_last` AS (
  SELECT `station`, `_known`, max(_last) AS `_last_last`, max(_overtaken) AS `_second_last` FROM (
    SELECT *, max(CASE WHEN _before IS NULL THEN NULL WHEN `_place_last` < _before THEN `_place_last` ELSE _before END) OVER (PARTITION BY `station` ORDER BY `_known`, `_place_last` ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS _overtaken
    FROM `_running_last`) AS overtaken
  GROUP BY `station`, `_known`
),
`_with_last` AS (
  SELECT seen.`number` AS _key0, CASE WHEN event.`event_time` >= timestampadd(MICROSECOND, -32400000000, seen.`_now`) THEN event.`_value0` END AS `last_delay`, CASE WHEN event.`event_time` >= timestampadd(MICROSECOND, -32400000000, seen.`_now`) THEN event.`_value1` END AS `last_start`
  FROM (SELECT request.*, event.`_last_last` AS `_last_last`, event.`_second_last` AS `_second_last` FROM `_requests` AS request
    LEFT ASOF JOIN `_state_last` AS event MATCH_CONDITION (request.`_now` > event.`_known`)
    ON request.`station` = event.`station`) AS seen
  LEFT JOIN `_placed_last` AS own ON seen.`number` = own.`number`
  LEFT JOIN `_placed_last` AS event ON seen.`station` = event.`station` AND event.`_place_last` = CASE WHEN seen.`_last_last` = own.`_place_last` THEN seen.`_second_last` ELSE seen.`_last_last` END
),
`_table_stations` AS (
  SELECT `station`, `platforms` FROM `stations`
),
`_values_place` AS (
  SELECT * FROM (SELECT `station`, (`platforms` * CAST(2 AS BIGINT)) AS `_value0`, count(*) OVER (PARTITION BY `station`) AS `_same`
    FROM `_table_stations`) AS counted
  WHERE CASE WHEN `_same` > 1 THEN raise_error(concat('features.views.place: several rows of stations have the same station; remove all but one of ', CAST(`_same` AS STRING))) ELSE TRUE END
),
`_with_place` AS (
  SELECT seen.`number` AS _key0, event.`_value0` AS `tracks`
  FROM `_requests` AS seen LEFT JOIN `_values_place` AS event ON seen.`station` = event.`station`
),
`_timed_recent` AS (
  SELECT `station`, `number`, `event_time`, `_known`, CASE WHEN timestampadd(MICROSECOND, 21600000000, `event_time`) > `_known` THEN timestampadd(MICROSECOND, 21600000000, `event_time`) ELSE `_known` END AS _leaves, coalesce(CAST(`delay` AS DECIMAL(18, 6)), CAST(0 AS DECIMAL(18, 6))) AS `_sum0_recent`, CASE WHEN CAST(`delay` AS DECIMAL(18, 6)) IS NULL THEN 0 ELSE 1 END AS `_count0_recent`, coalesce(CAST(CASE WHEN (`delay` > CAST(15 AS BIGINT)) THEN 1 WHEN NOT (`delay` > CAST(15 AS BIGINT)) THEN 0 END AS DECIMAL(18, 6)), CAST(0 AS DECIMAL(18, 6))) AS `_sum1_recent`, CASE WHEN CAST(CASE WHEN (`delay` > CAST(15 AS BIGINT)) THEN 1 WHEN NOT (`delay` > CAST(15 AS BIGINT)) THEN 0 END AS DECIMAL(18, 6)) IS NULL THEN 0 ELSE 1 END AS `_count1_recent`, coalesce(CAST((CAST(`delay` AS DOUBLE) * CAST('0.1' AS DOUBLE)) AS DECIMAL(18, 6)), CAST(0 AS DECIMAL(18, 6))) AS `_sum2_recent`, CASE WHEN CAST((CAST(`delay` AS DOUBLE) * CAST('0.1' AS DOUBLE)) AS DECIMAL(18, 6)) IS NULL THEN 0 ELSE 1 END AS `_count2_recent`, CAST(1 AS DECIMAL(18, 6)) AS `_sum3_recent`, 1 AS `_count3_recent` FROM `_stream_done` WHERE `station` IS NOT NULL
),
`_state_recent` AS (
  SELECT `station`, _at, sum(sum(`_sum0_recent`)) OVER (PARTITION BY `station` ORDER BY _at ROWS UNBOUNDED PRECEDING) AS `_sum0_recent`, sum(sum(`_count0_recent`)) OVER (PARTITION BY `station` ORDER BY _at ROWS UNBOUNDED PRECEDING) AS `_count0_recent`, sum(sum(`_sum1_recent`)) OVER (PARTITION BY `station` ORDER BY _at ROWS UNBOUNDED PRECEDING) AS `_sum1_recent`, sum(sum(`_count1_recent`)) OVER (PARTITION BY `station` ORDER BY _at ROWS UNBOUNDED PRECEDING) AS `_count1_recent`, sum(sum(`_sum2_recent`)) OVER (PARTITION BY `station` ORDER BY _at ROWS UNBOUNDED PRECEDING) AS `_sum2_recent`, sum(sum(`_count2_recent`)) OVER (PARTITION BY `station` ORDER BY _at ROWS UNBOUNDED PRECEDING) AS `_count2_recent`, sum(sum(`_sum3_recent`)) OVER (PARTITION BY `station` ORDER BY _at ROWS UNBOUNDED PRECEDING) AS `_sum3_recent`, sum(sum(`_count3_recent`)) OVER (PARTITION BY `station` ORDER BY _at ROWS UNBOUNDED PRECEDING) AS `_count3_recent` FROM (
    SELECT `station`, `_known` AS _at, `_sum0_recent`, `_count0_recent`, `_sum1_recent`, `_count1_recent`, `_sum2_recent`, `_count2_recent`, `_sum3_recent`, `_count3_recent` FROM `_timed_recent`
    UNION ALL SELECT `station`, _leaves AS _at, -`_sum0_recent` AS `_sum0_recent`, -`_count0_recent` AS `_count0_recent`, -`_sum1_recent` AS `_sum1_recent`, -`_count1_recent` AS `_count1_recent`, -`_sum2_recent` AS `_sum2_recent`, -`_count2_recent` AS `_count2_recent`, -`_sum3_recent` AS `_sum3_recent`, -`_count3_recent` AS `_count3_recent` FROM `_timed_recent`) AS step
  GROUP BY `station`, _at
),
`_with_recent` AS (
  SELECT seen.`number` AS _key0, CASE WHEN coalesce((seen.`_count0_recent` - CASE WHEN own.`_known` < seen.`_now` AND own._leaves >= seen.`_now` THEN own.`_count0_recent` ELSE 0 END), 0) = 0 THEN CAST('0.0' AS DOUBLE) ELSE CAST((seen.`_sum0_recent` - CASE WHEN own.`_known` < seen.`_now` AND own._leaves >= seen.`_now` THEN own.`_sum0_recent` ELSE 0 END) AS DOUBLE) END AS `delay_sum_6h`, CASE WHEN coalesce((seen.`_count1_recent` - CASE WHEN own.`_known` < seen.`_now` AND own._leaves >= seen.`_now` THEN own.`_count1_recent` ELSE 0 END), 0) = 0 THEN NULL ELSE CAST((seen.`_sum1_recent` - CASE WHEN own.`_known` < seen.`_now` AND own._leaves >= seen.`_now` THEN own.`_sum1_recent` ELSE 0 END) AS DOUBLE) / NULLIF(CAST(coalesce((seen.`_count1_recent` - CASE WHEN own.`_known` < seen.`_now` AND own._leaves >= seen.`_now` THEN own.`_count1_recent` ELSE 0 END), 0) AS DOUBLE), 0) END AS `late_share_6h`, CASE WHEN coalesce((seen.`_count2_recent` - CASE WHEN own.`_known` < seen.`_now` AND own._leaves >= seen.`_now` THEN own.`_count2_recent` ELSE 0 END), 0) = 0 THEN CAST('-1.0' AS DOUBLE) ELSE CAST((seen.`_sum2_recent` - CASE WHEN own.`_known` < seen.`_now` AND own._leaves >= seen.`_now` THEN own.`_sum2_recent` ELSE 0 END) AS DOUBLE) / NULLIF(CAST(coalesce((seen.`_count2_recent` - CASE WHEN own.`_known` < seen.`_now` AND own._leaves >= seen.`_now` THEN own.`_count2_recent` ELSE 0 END), 0) AS DOUBLE), 0) END AS `scaled_mean_6h`, CAST(coalesce((seen.`_count3_recent` - CASE WHEN own.`_known` < seen.`_now` AND own._leaves >= seen.`_now` THEN own.`_count3_recent` ELSE 0 END), 0) AS BIGINT) AS `trips_6h`
  FROM (SELECT request.*, event.`_sum0_recent` AS `_sum0_recent`, event.`_count0_recent` AS `_count0_recent`, event.`_sum1_recent` AS `_sum1_recent`, event.`_count1_recent` AS `_count1_recent`, event.`_sum2_recent` AS `_sum2_recent`, event.`_count2_recent` AS `_count2_recent`, event.`_sum3_recent` AS `_sum3_recent`, event.`_count3_recent` AS `_count3_recent` FROM `_requests` AS request
    LEFT ASOF JOIN `_state_recent` AS event MATCH_CONDITION (request.`_now` > event._at)
    ON request.`station` = event.`station`) AS seen
  LEFT JOIN `_timed_recent` AS own ON seen.`number` = own.`number`
)
SELECT
  `_part`,
  `line` AS `line`,
  `number` AS `number`,
  `starts` AS `starts`,
  `station` AS `station`,
  `event_time` AS `event_time`,
  `late` AS `late`,
  `delay_sum_6h` AS `delay_sum_6h`,
  `last_delay` AS `last_delay`,
  `late_share_6h` AS `late_share_6h`,
  CAST(extract(hour FROM convert_timezone('UTC', 'America/New_York', `event_time`)) AS BIGINT) AS `local_hour`,
  `scaled_mean_6h` AS `scaled_mean_6h`,
  (CAST(timestampdiff(MICROSECOND, `last_start`, `event_time`) AS DOUBLE) / 60000000) AS `since_last`,
  ((CAST(timestampdiff(MICROSECOND, `last_start`, `event_time`) AS DOUBLE) / 60000000) / NULLIF(CAST(CAST(60 AS BIGINT) AS DOUBLE), 0)) AS `since_last_hours`,
  `tracks` AS `tracks`,
  `trips_6h` AS `trips_6h`
FROM `_requests` AS request
  LEFT JOIN `_with_last` ON request.`number` = `_with_last`._key0
  LEFT JOIN `_with_place` ON request.`number` = `_with_place`._key0
  LEFT JOIN `_with_recent` ON request.`number` = `_with_recent`._key0
