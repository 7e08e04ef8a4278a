CREATE TABLE IF NOT EXISTS `anchor_state` (
  `id` TINYINT UNSIGNED NOT NULL,
  `recorded_number` BIGINT UNSIGNED NOT NULL,
  `recorded_size` BIGINT UNSIGNED NOT NULL,
  `confirmed_number` BIGINT UNSIGNED NOT NULL,
  `confirmed_sha256` BINARY(32) NOT NULL,
  `confirmed_at` DATETIME(6) NULL,
  PRIMARY KEY (`id`),
  CONSTRAINT `anchor_state_one_row` CHECK (`id` = 1)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_bin
